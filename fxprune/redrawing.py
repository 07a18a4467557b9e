"""Example inputs drawn anew at another batch and length, so that the model still takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor

Named = tuple[str, Tensor]


class Redraw:
    """One draw of rows, and of columns for every length: tensors of one length stay beside each other.

    Ids that stand equally often in every row, such as an end of text or the places of an image, keep their number and
    their order in each row; only what stands between them is drawn.

    Args:
        texts: the 2-D integer tensors among the examples by their length, (batch, length).
        rows: of the examples.
        batch: rows of the draw.
        generator: of the random numbers.
    """

    def __init__(self, texts: Mapping[int, Sequence[Named]], rows: int, batch: int, generator: Generator) -> None:
        self.texts = texts
        self.examples = rows
        self.generator = generator
        self.rows = torch.randint(rows, (batch,), generator=generator)
        self._columns: dict[tuple[int, int], Tensor] = {}

    def of(self, name: str, tensor: Tensor, sizes: Mapping[int, int]) -> Tensor:
        """Return `tensor` with the dimensions of `sizes` (0 and 1) at new sizes, its entries drawn anew."""
        if not sizes:
            return tensor.clone()
        beside = 0 in sizes or tensor.shape[0] == self.examples == len(self.rows)
        rows = self.rows if beside else self._some(tensor.shape[0], (tensor.shape[0],))
        rows = rows.to(tensor.device)
        if 1 not in sizes:
            drawn = tensor[rows]
            scale = torch.rand(len(rows), *[1] * (tensor.ndim - 1), generator=self.generator).to(tensor.device) + 0.5
            return (drawn * scale).to(tensor.dtype) if tensor.is_floating_point() else drawn
        if is_mask(name, tensor):
            return _ragged_mask(tensor, len(rows), sizes[1])
        if _counts_up(name, tensor):
            return (tensor[0, 0] + torch.arange(sizes[1], device=tensor.device)).to(tensor.dtype).repeat(len(rows), 1)
        columns = self._columns_of(tensor.shape[1], sizes[1]) if beside else None
        if columns is None:
            columns = self._some(tensor.shape[1], (len(rows), sizes[1]))
        return tensor[rows[:, None], columns.to(tensor.device)].contiguous()

    def _columns_of(self, old: int, new: int) -> Tensor | None:
        """Return (batch, new) columns of the examples, the same for all that are `old` long; None without values."""
        if (old, new) not in self._columns:
            texts = [text for name, text in self.texts.get(old, ()) if not _counts_up(name, text)]
            if not texts or texts[0].is_meta:
                return None
            ids = max(texts, key=lambda text: len(text.unique())).cpu()
            marked = torch.isin(ids, markers(ids))
            self._columns[old, new] = torch.stack([self._line(marked[row], new) for row in self.rows])
        return self._columns[old, new]

    def _line(self, marked: Tensor, length: int) -> Tensor:
        """Return (length,) columns of one row: those that are marked in their order, others at random between them."""
        places, free = marked.nonzero()[:, 0], (~marked).nonzero()[:, 0]
        if not len(free) or length < len(places):  # nothing to draw from, or no room for them
            return self._some(len(marked), (length,))
        kept = free[self._some_of(len(free), min(len(free), length - len(places)))]
        slots = torch.cat([places, kept]).sort().values
        slots = torch.cat([slots, free[-1:].expand(length - len(slots))])
        drawn = free[self._some(len(free), (length,))]
        return torch.where(marked[slots], slots, drawn)

    def _some(self, count: int, shape: tuple[int, ...]) -> Tensor:
        return torch.randint(count, shape, generator=self.generator)

    def _some_of(self, count: int, wanted: int) -> Tensor:
        return torch.randperm(count, generator=self.generator)[:wanted]


def markers(ids: Tensor) -> Tensor:
    """Return the values that stand equally often in every row of (batch, length) `ids`; of one row, more than once.

    >>> markers(torch.tensor([[1, 9, 9, 4], [1, 9, 5, 9], [7, 9, 1, 9]])).tolist()
    [1, 9]
    """
    values, places = ids.unique(return_inverse=True)
    counts = torch.zeros(len(ids), len(values), dtype=torch.int64).scatter_add_(1, places, torch.ones_like(places))
    least = 1 if len(ids) > 1 else 2
    return values[(counts == counts[0]).all(0) & (counts[0] >= least)]


def is_mask(name: str, tensor: Tensor) -> bool:
    """Tell whether a tensor of this name says which positions count."""
    return "mask" in name and tensor.ndim == 2


def _ragged_mask(example: Tensor, batch: int, length: int) -> Tensor:
    """Return (batch, length) where row i hides i positions (at most all but one), at the example's padded side."""
    hidden = torch.arange(batch, device=example.device)[:, None] % length
    place = torch.arange(length, device=example.device)[None]
    left = bool((example[:, 0] == 0).any()) and not bool((example[:, -1] == 0).any())
    shown = place >= hidden if left else place < length - hidden
    return shown.to(example.dtype)


def _counts_up(name: str, tensor: Tensor) -> bool:
    """Tell whether a tensor holds positions that count up."""
    counts = "position" in name and tensor.ndim == 2 and tensor.shape[1] > 1
    return counts and bool((tensor.diff(dim=1) == 1).all())
