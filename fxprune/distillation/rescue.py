"""What is left of a run that cannot go on: its student as it was before the step that failed, if that one is sound.

A step that fails changes no weight. But what made it fail may lie in the steps before, so a copy of the weights is kept
from each measurement on held-out text, and the student goes back to it if it gives no numbers there any more. The copy
is kept as state of the optimizer, where every cut slices it along.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch.optim import Optimizer

from fxprune.distillation.report import DistillResult
from fxprune.errors import DistillError, FxpruneError

_KEY = "sound"


class UnfinishedError(DistillError):
    """A run that stopped on the way, with what it has so far.

    Args:
        error: why it stopped.
        step: that failed.
        weights_of: the last step that changed the student.
        result: of the student as it was then.
    """

    def __init__(self, error: FxpruneError, step: int, weights_of: int, result: DistillResult) -> None:
        super().__init__(error.message, cause=error.cause, remedy=error.remedy)
        self.step, self.weights_of, self.result = step, weights_of, result

    def to_data(self) -> dict[str, object]:
        """Return what a folder of results says of it."""
        return {"reason": self.message, "step": self.step, "weights_of_step": self.weights_of}


@torch.no_grad()
def remember(optimizer: Optimizer) -> None:
    """Keep a copy of the weights that are trained."""
    for parameter, state in optimizer.state.items():
        if state:  # a weight without moments has never changed
            state[_KEY] = parameter.detach().clone()


@torch.no_grad()
def bring_back(optimizer: Optimizer) -> bool:
    """Put the copy back; tell whether there was one."""
    kept = [(parameter, state[_KEY]) for parameter, state in optimizer.state.items() if _KEY in state]
    for parameter, value in kept:
        parameter.copy_(value)
    return bool(kept)


def is_sound(measured: Mapping[str, Mapping[str, float]]) -> bool:
    """Tell whether all that was measured are numbers."""
    return all(math.isfinite(value) for found in measured.values() for value in found.values())
