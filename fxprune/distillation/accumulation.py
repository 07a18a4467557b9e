"""The gradient of one batch: part by part, over all processes, as if the batch had been run at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from accelerate.utils.memory import should_reduce_batch_size
from torch import Tensor
from torch.nn.utils import get_total_norm

from fxprune.distillation.batch import Batch
from fxprune.distillation.likeness import Peers
from fxprune.distillation.microbatch import MicroBatch, TooLargeError
from fxprune.distillation.ranks import Ranks
from fxprune.distillation.terms import Outputs, Terms
from fxprune.errors import DistillError
from fxprune.traced import Traced

T = TypeVar("T")


class NotANumberError(DistillError):
    """A loss or a gradient that is infinite or undefined: the step it was found in has changed nothing."""


class Accumulator:
    """Runs teacher and student on the parts of a batch.

    Args:
        teacher: dense and frozen.
        student: gets the gradients.
        terms: of both.
        ranks: the processes that share the batch.
        micro: how many sequences are run at a time.
    """

    def __init__(self, teacher: Traced, student: Traced, terms: Terms, ranks: Ranks, micro: MicroBatch) -> None:
        self.teacher, self.student, self.terms, self.ranks, self.micro = teacher, student, terms, ranks, micro

    def __call__(self, batch: Batch, probe: int | None = None) -> dict[str, float]:
        """Leave the gradient of the whole batch in the student; return the total loss and each term.

        Args:
            batch: whole, the same in all processes.
            probe: seed of the projection that stands in for losses that are all at zero; None: train on the losses.
        Raises:
            DistillError: a single sequence does not fit into memory, or more would have to.
        """
        own = self.ranks.share(batch)
        while True:
            try:
                sums = self._sums(own, probe)
                break
            except TooLargeError:
                self._forget()
            self.micro.halve(own)
        self.ranks.add_gradients(self.student.parameters())
        return self.ranks.total(sums)

    def _sums(self, own: Batch, probe: int | None) -> dict[str, float]:
        """Run all parts of this process; return its share of the losses."""
        parts = [part.to(self.ranks.device) for part in own.parts(self.micro.rows(own))]
        once, peers = self._peers(parts)

        def backward() -> dict[str, float]:
            sums: dict[str, Tensor] = {}
            for part in parts:
                with self.micro.watching(part, self.student.parameters()):
                    found = self._backward(part, once, peers, probe)
                for name, value in found.items():
                    sums[name] = sums.get(name, 0.0) + value
            return _numbers(sums)

        return self._together(backward)

    def _together(self, work: Callable[[], T]) -> T:
        """Do something that may not fit into memory; if it does not in one process, all of them raise TooLargeError."""
        full, result = False, None
        try:
            result = work()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            full = True
        if self.ranks.any(full):
            raise TooLargeError
        return result  # type: ignore[return-value]

    def _forget(self) -> None:
        """Drop what a batch that is run again has left."""
        for parameter in self.student.parameters():
            parameter.grad = None
        for feature_map in self.terms.maps.values():
            feature_map.forget()

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

    def _peers(self, parts: Sequence[Batch]) -> tuple[tuple[Outputs, Outputs] | None, Peers | None]:
        """Gather the vectors of all sequences, from all parts and processes, where any are compared.

        Returns:
            What teacher and student gave, if there is one part, which need not be run again then (several would not fit
            into memory side by side); and the vectors, if this part does not hold all.
        """
        if not self.terms.compares or (self.ranks.count == 1 and len(parts) == 1):
            return None, None
        once = self._together(lambda: self._run(parts[0])) if len(parts) == 1 else None
        own = self._together(lambda: self._vectors(parts, once))
        placed = self.ranks.place(own, parts[0].first, parts[0].whole.rows)
        return once, Peers(placed[: len(placed) // 2], placed[len(placed) // 2 :])

    @torch.no_grad()
    def _vectors(self, parts: Sequence[Batch], once: tuple[Outputs, Outputs] | None) -> list[Tensor]:
        found = []
        for part in parts:
            student, teacher = once or self._run(part)
            found.append((*self.terms.vectors(student, part), *self.terms.vectors(teacher, part)))
        return [torch.cat(vectors) for vectors in zip(*found, strict=True)]


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether something failed because it did not fit into memory."""
    return isinstance(error, MemoryError) or should_reduce_batch_size(error)


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
