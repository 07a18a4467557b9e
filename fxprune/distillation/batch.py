"""One batch: what goes into the model, what it should say, and what of it is padding; and parts of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from fxprune.distillation.losses import IGNORED


@dataclass(frozen=True, slots=True)
class Whole:
    """What a part knows of the batch it belongs to: a mean over the batch is a sum over its parts."""

    rows: int
    labelled: int
    real: tuple[tuple[str, int], ...] = ()  # inputs that are padded, and how many of their positions are not


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs by name, and labels with -100 where there is none.

    Attributes:
        inputs: each with one row a sequence or image.
        labels: (batch, length) for predictions at each position, (batch,) for one a row; None without a task.
        of: the batch it is a part of; None: it is whole.
        first: place of its first row there.
        real: input -> (batch, length) bool, False at padding; an input that is not there has none.
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor | None
    of: Whole | None = None
    first: int = 0
    real: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def whole(self) -> Whole:
        """The batch it is a part of, or itself."""
        if self.of is not None:
            return self.of
        labelled = 0 if self.labels is None else int((self.labels != IGNORED).sum())
        return Whole(self.rows, labelled, tuple((name, int(real.sum())) for name, real in self.real.items()))

    @property
    def rows(self) -> int:
        """Sequences or images in it."""
        return len(next(iter(self.inputs.values())))

    @property
    def size(self) -> int:
        """Tokens in it, those of a decoder too; of images, how many they are."""
        ids = [tensor.numel() for name, tensor in self.inputs.items() if name.endswith("input_ids")]
        return sum(ids) or self.rows

    @property
    def share(self) -> float:
        """Its sequences, as a fraction of the whole."""
        return self.rows / self.whole.rows

    def share_of(self, positions: str | None) -> float:
        """Return its positions of an input that are no padding, as a fraction of the whole's."""
        if positions is None or positions not in self.real:
            return self.share
        return int(self.real[positions].sum()) / max(dict(self.whole.real)[positions], 1)

    @property
    def labelled(self) -> Tensor:
        """Places of the labelled positions in the flattened labels."""
        assert self.labels is not None
        return torch.nonzero(self.labels.flatten() != IGNORED)[:, 0]

    @property
    def picked_labels(self) -> Tensor:
        """Labels of those positions, (n,)."""
        assert self.labels is not None
        return self.labels.flatten()[self.labelled]

    def part(self, first: int, last: int) -> Batch:
        """Return the rows from `first` to before `last`."""
        found = self._each(lambda tensor: tensor[first:last])
        return replace(found, of=self.whole, first=self.first + first)

    def parts(self, rows: int | None) -> Iterator[Batch]:
        """Yield parts of at most `rows` sequences; none if there is no sequence."""
        for first in range(0, self.rows, rows or max(self.rows, 1)):
            yield self.part(first, first + (rows or self.rows))

    def to(self, device: torch.device) -> Batch:
        """Move to a device."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            inputs={name: change(tensor) for name, tensor in self.inputs.items()},
            labels=None if self.labels is None else change(self.labels),
            real={name: change(tensor) for name, tensor in self.real.items()},
        )


def parts_of_one(batches: Sequence[Batch]) -> list[Batch]:
    """Return several batches as parts of a single one, whose rows may differ in length: their means become its mean."""
    wholes = [batch.whole for batch in batches]
    real = Counter[str]()
    for each in wholes:
        real.update(dict(each.real))
    whole = Whole(sum(each.rows for each in wholes), sum(each.labelled for each in wholes), tuple(real.items()))
    return [replace(batch, of=whole) for batch in batches]
