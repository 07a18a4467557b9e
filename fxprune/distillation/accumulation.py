"""The gradient of one batch: part by part, over all processes, as if the batch had been run at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from fxprune.distillation.likeness import Peers
from fxprune.distillation.objective import Batch
from fxprune.distillation.ranks import Ranks
from fxprune.distillation.terms import Outputs, Terms
from fxprune.errors import DistillError
from fxprune.traced import Traced


class NotANumberError(DistillError):
    """A loss or a gradient that is infinite or undefined: the step it was found in has changed nothing."""


class Accumulator:
    """Runs teacher and student on the parts of a batch.

    Args:
        teacher: dense and frozen.
        student: gets the gradients.
        terms: of both.
        ranks: the processes that share the batch.
    """

    def __init__(self, teacher: Traced, student: Traced, terms: Terms, ranks: Ranks) -> None:
        self.teacher, self.student, self.terms, self.ranks = teacher, student, terms, ranks

    def __call__(self, batch: Batch, rows: int | None = None, probe: int | None = None) -> dict[str, float]:
        """Leave the gradient of the whole batch in the student; return the total loss and each term.

        Args:
            batch: whole, the same in all processes.
            rows: sequences at a time in each process; None: all.
            probe: seed of the projection that stands in for losses that are all at zero; None: train on the losses.
        """
        parts = [part.to(self.ranks.device) for part in self.ranks.share(batch).parts(rows)]
        # with one part, what is compared with its peers is run once; several would not fit into memory side by side
        once = self._run(parts[0]) if len(parts) == 1 else None
        peers = self._peers(parts, once)
        sums: dict[str, Tensor] = {}
        for part in parts:
            for name, value in self._backward(part, once, peers, probe).items():
                sums[name] = sums.get(name, 0.0) + value
        self.ranks.add_gradients(self.student.parameters())
        return self.ranks.total(_numbers(sums))

    def _backward(
        self, part: Batch, once: tuple[Outputs, Outputs] | None, peers: Peers | None, probe: int | None
    ) -> dict[str, Tensor]:
        """Add the gradient of one part; what it computed on the way is free afterwards."""
        student, teacher = once or self._run(part)
        terms = self.terms(student, teacher, part, peers, observe=True)
        total = self.terms.total(terms)
        (total if probe is None else self.terms.probe(student, part, probe)).backward()
        return {name: value.detach() for name, value in {"total": total, **terms}.items()}

    def _run(self, part: Batch) -> tuple[Outputs, Outputs]:
        with torch.no_grad():
            teacher = self.terms.run(self.teacher, part)
        return self.terms.run(self.student, part), teacher

    @torch.no_grad()
    def _peers(self, parts: Sequence[Batch], once: tuple[Outputs, Outputs] | None) -> Peers | None:
        """Gather the vectors of all sequences, from all parts and processes; None if a part holds all or none count."""
        if not self.terms.compares or (self.ranks.count == 1 and len(parts) == 1):
            return None
        found = []
        for part in parts:
            student, teacher = once or self._run(part)
            found.append((*self.terms.vectors(student, part), *self.terms.vectors(teacher, part)))
        own = [torch.cat(vectors) for vectors in zip(*found, strict=True)]
        placed = self.ranks.place(own, parts[0].first, parts[0].whole.rows)
        return Peers(placed[: len(placed) // 2], placed[len(placed) // 2 :])


def check_finite(losses: Mapping[str, float], step: int) -> None:
    """Raise NotANumberError if a term of the loss is none."""
    if not math.isfinite(losses["total"]):
        bad = next((name for name, value in losses.items() if name != "total" and not math.isfinite(value)), "total")
        raise NotANumberError(f"the {bad} loss is {losses[bad]} at step {step}", remedy="lower --learning-rate")


def gradient_norm(parameters: Iterable[Tensor], step: int) -> Tensor:
    """Return the norm of all gradients.

    Raises:
        NotANumberError: it is none, though the losses are.
    """
    norm = get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if not math.isfinite(float(norm)):
        raise NotANumberError(f"the gradient is {float(norm)} at step {step}", remedy="lower --learning-rate")
    return norm


def _numbers(sums: Mapping[str, Tensor]) -> dict[str, float]:
    return dict(zip(sums, torch.stack(list(sums.values())).tolist(), strict=True))
