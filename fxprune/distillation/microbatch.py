"""How many sequences are run at a time: what the user says, fewer where they do not fit, more as the student shrinks.

The batch of a step, and what it leads to, stay what they are: a step is the sum of its parts, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from accelerate.utils.memory import clear_device_cache
from torch import Tensor

from fxprune.distillation.batch import Batch
from fxprune.distillation.checkpoints.saved import Saved
from fxprune.errors import DistillError

_OF_FREE = 0.8  # of the memory a GPU has left: the next batch may hold longer sequences, and memory is in pieces


class TooLargeError(Exception):
    """The parts of a batch did not fit into the memory of a process."""


class MicroBatch:
    """The size of a part in one process.

    Memory is measured in the first part after each cut: on a GPU what was in use at the peak, against what there is;
    elsewhere what the student keeps for its backward pass, against what it kept at first.

    Args:
        rows: sequences at a time; None: all.
        auto: whether the size follows the memory.
        device: of the process.
    """

    def __init__(self, rows: int | None, auto: bool, device: torch.device) -> None:
        self.given, self.auto, self.device = rows, auto, device
        self._tokens: int | None = None  # at a time, once measured or halved
        self._bytes: float | None = None  # that may be used, where there is no GPU to ask
        self._share = _OF_FREE
        self._stale = True

    def rows(self, batch: Batch) -> int | None:
        """Return how many sequences of a batch are run at a time; None: all."""
        if self._tokens is None:
            return self.given
        return max(1, self._tokens // _tokens_a_row(batch))

    def refresh(self) -> None:
        """Measure again: the student has become smaller."""
        self._stale = True

    def halve(self, batch: Batch) -> None:
        """Take half as many sequences at a time.

        Args:
            batch: the share of this process.
        Raises:
            DistillError: a single one does not fit, or the size is the user's choice.
        """
        rows = min(self.rows(batch) or batch.rows, batch.rows)
        if not self.auto or rows < 2:
            raise DistillError(
                f"{rows} sequence{'s' * (rows > 1)} at a time do not fit into memory",
                remedy="use a smaller --length" if self.auto else "pass --auto-batch, or a smaller --micro-batch",
            )
        clear_device_cache(garbage_collection=True)
        self._tokens, self._bytes = rows // 2 * _tokens_a_row(batch), None
        self._share *= _OF_FREE
        self._stale = False  # until the next cut, this is the size

    @contextmanager
    def watching(self, part: Batch, parameters: Iterable[Tensor]) -> Iterator[None]:
        """Measure what one part needs, forward and backward, if that is not known."""
        if not (self.auto and self._stale):
            yield
        elif self.device.type == "cuda":
            static = torch.cuda.memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            yield
            used = torch.cuda.max_memory_allocated(self.device) - static
            free = torch.cuda.get_device_properties(self.device).total_memory - static
            self._fit(part, used, self._share * free)
        else:
            kept = _Kept(parameters)
            with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
                yield
            if self._bytes is None:
                self._bytes = kept.bytes
            self._fit(part, kept.bytes, self._bytes)

    def saved(self) -> Saved:
        """Return what was measured."""
        measured = {"tokens": self._tokens, "bytes": self._bytes, "share": self._share, "stale": self._stale}
        return Saved({name: value for name, value in measured.items() if value is not None})

    def restore(self, saved: Saved) -> None:
        """Put back what `saved` returned."""
        self._tokens = saved.integer("tokens") if saved.optional("tokens") else None
        self._bytes = saved.number("bytes") if saved.optional("bytes") else None
        self._share, self._stale = saved.number("share"), saved.flag("stale")

    def _fit(self, part: Batch, used: float, allowed: float) -> None:
        self._stale = False
        if used > 0 and (self.given is not None or self._tokens is not None):
            self._tokens = int(part.rows * _tokens_a_row(part) * allowed / used)


class _Kept:
    """Counts the bytes autograd keeps, each storage once, and no parameter."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._seen = {parameter.untyped_storage().data_ptr() for parameter in parameters}
        self.bytes = 0

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor


def _tokens_a_row(batch: Batch) -> int:
    return next(iter(batch.inputs.values()))[0].numel()
