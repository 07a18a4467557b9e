"""What every pass must show: its outputs are the same, and a second run has nothing to do."""

from __future__ import annotations

import torch
from torch import Tensor

from fxprune.passes import Pass, run_passes
from fxprune.traced import Traced
from fxprune.verify.compare import output_tensors, relative_error


def outputs(traced: Traced, inputs: dict[str, Tensor]) -> list[Tensor]:
    """The outputs of a graph."""
    with torch.no_grad():
        return output_tensors(traced(**inputs))


def run_exact(traced: Traced, step: Pass, inputs: dict[str, Tensor], tolerance: float = 0.0) -> None:
    """Run a pass that changes something but no output, and then has nothing to do."""
    before = outputs(traced, inputs)
    assert run_passes(traced, [step]) is True
    assert max(map(relative_error, outputs(traced, inputs), before)) <= tolerance
    assert run_passes(traced, [step]) is False


def targets(traced: Traced) -> list[str]:
    """The ops of a graph, in order: ``["linear", "view", ...]``."""
    return [node.target.__name__.partition(".")[0] for node in traced.graph.nodes if node.op == "call_function"]
