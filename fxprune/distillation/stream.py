"""Training batches one after another, which a run that goes on takes up where it left them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from fxprune.distillation.batch import Batch
from fxprune.distillation.checkpoints.saved import Saved
from fxprune.distillation.reading import readable
from fxprune.errors import CheckpointError


class Stream(Iterator[Batch]):
    """Batches of a reader, prepared for the objective.

    Which batch is the n-th depends on the data and the settings alone, so a position is a number: the reader is run up
    to it again, without a model, and what was read last is compared.

    Args:
        read: gives batches as the data set has them.
        prepare: makes of each what a model is trained on.
        masks: what `prepare` draws from.
        spec: of the data set, for messages.
    """

    def __init__(
        self,
        read: Iterator[Any],
        prepare: Callable[[Any], Batch] | None = None,
        masks: Generator | None = None,
        *,
        spec: str = "",
    ) -> None:
        self.read, self.prepare, self.masks, self.spec = read, prepare, masks, spec
        self.drawn = 0
        self._last: Any = None

    def __next__(self) -> Batch:
        raw = self._next()
        batch: Batch = raw if self.prepare is None else self.prepare(raw)
        return batch

    def _next(self) -> Any:
        with readable(self.spec):
            self._last = next(self.read)
        self.drawn += 1
        return self._last

    def saved(self) -> Saved:
        """Return the position."""
        tensors = {} if self.masks is None else {"masks": self.masks.get_state()}
        return Saved({"drawn": self.drawn, "last": digest_of(self._last)}, tensors)

    def restore(self, saved: Saved, most: int) -> None:
        """Go on to a position.

        Args:
            saved: the position.
            most: batches a run may draw at all.
        Raises:
            CheckpointError: the data are not those the run was trained on.
        """
        drawn = saved.integer("drawn", self.drawn, most)
        while self.drawn < drawn:
            self._next()
        if saved.text("last") != digest_of(self._last):
            raise CheckpointError(
                "the data set is not the one the run was trained on",
                cause=f"batch {self.drawn} differs",
                remedy="resume with the data, the tokenizer and the seed the run began with",
            )
        if self.masks is not None:
            self.masks.set_state(saved.tensor("masks", self.masks.get_state().shape, self.masks.get_state().dtype))


def digest_of(batch: Any) -> str:
    """Hash what a batch holds; no batch has no hash."""
    found = hashlib.sha256()
    inputs = batch.inputs if isinstance(batch, Batch) else batch
    for name in sorted(inputs) if isinstance(inputs, Mapping) else ():
        _add(found, name, inputs[name])
    if isinstance(batch, Batch) and batch.labels is not None:
        _add(found, "labels", batch.labels)
    return "" if batch is None else found.hexdigest()[:16]


def _add(found: Any, name: str, tensor: Tensor) -> None:
    found.update(f"{name}{tuple(tensor.shape)}".encode())
    found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
