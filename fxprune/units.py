"""Which unit of which factor each position of a tensor belongs to, and so which positions a cut removes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

from fxprune.axes import Axis, Concat, Factor, factors_of, resolve, size_of

Axes = tuple[Axis, ...]


@dataclass(slots=True)
class Kept:
    """Which units stay.

    Attributes:
        units: factor -> bool mask of its units, (size,) or, if ragged, (size of the outer factor, size).
        under: ragged factor -> the outer factor its mask depends on.
    """

    units: dict[Factor, Tensor] = field(default_factory=dict)
    under: dict[Factor, Factor] = field(default_factory=dict)

    def touches(self, axis: Axis) -> bool:
        """Tell whether a cut changes `axis`."""
        return any(factor in self.units for factor in factors_of(axis))

    def count(self, factor: Factor) -> int:
        """Return how many units of `factor` stay (per outer unit, if ragged)."""
        mask = self.units[factor]
        if mask.ndim == 1:
            return int(mask.sum())
        outer = self.units.get(self.under[factor])
        rows = mask if outer is None else mask[outer]
        return int(rows[0].sum())


def positions(axis: Axis) -> list[tuple[Factor, Tensor]]:
    """Return (factor, unit) pairs: the unit index at each position of `axis`, -1 where the factor is not present."""
    terms = resolve(axis)
    sizes = [_length((term,)) for term in terms]
    found: list[tuple[Factor, Tensor]] = []
    for place, term in enumerate(terms):
        inner, outer = prod(sizes[place + 1 :]), prod(sizes[:place])
        for factor, units in _term_positions(term):
            found.append((factor, units.repeat_interleave(inner).repeat(outer)))
    return found


def _term_positions(term: Factor | Concat) -> list[tuple[Factor, Tensor]]:
    if isinstance(term, Factor):
        return [(term, torch.arange(_length((term,))))]
    found: dict[tuple[Factor, int], Tensor] = {}
    total, start = _length((term,)), 0
    for part in term.parts:
        length = _length(part)
        seen: dict[Factor, int] = {}
        for factor, units in positions(part):
            nth = seen[factor] = seen.get(factor, -1) + 1  # a factor may stand twice in one product
            full = found.setdefault((factor, nth), torch.full((total,), -1))
            full[start : start + length] = units
        start += length
    return [(factor, units) for (factor, _), units in found.items()]


def _length(axis: Axis) -> int:
    size = size_of(axis)
    assert isinstance(size, int), "only axes of known size hold units"
    return size


def axis_mask(axis: Axis, kept: Kept) -> Tensor:
    """Return the positions of `axis` that stay, as a bool mask.

    A ragged factor must stand in one product with its outer factor.
    """
    placed = positions(axis)
    mask = torch.ones(_length(axis), dtype=torch.bool)
    for factor, units in placed:
        if factor in kept.units:
            mask &= _stays(factor, units, kept, placed)
    return mask


def _stays(factor: Factor, units: Tensor, kept: Kept, placed: Iterable[tuple[Factor, Tensor]]) -> Tensor:
    absent = units < 0
    mask = kept.units[factor]
    if mask.ndim == 1:
        return mask[units.clamp_min(0)] | absent
    outer = next(other for found, other in placed if found is kept.under[factor])
    return mask[outer.clamp_min(0), units.clamp_min(0)] | absent


def shrink(kept: Kept) -> None:
    """Give every cut factor its new size."""
    for factor, count in [(factor, kept.count(factor)) for factor in kept.units]:
        factor.size = count


class IndexCache:
    """Kept positions by axis: the layers of a model share few layouts, and one tensor three copies (Adam's)."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self._found: dict[Axis, Tensor | None] = {}
        self._scratch: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def __call__(self, axis: Axis) -> Tensor | None:
        """Return the positions of `axis` that stay, or None if all do."""
        key = resolve(axis)
        if key not in self._found:
            self._found[key] = torch.nonzero(axis_mask(key, self.kept))[:, 0] if self.kept.touches(key) else None
        return self._found[key]

    def scratch(self, like: Tensor, count: int) -> Tensor:
        """Return `count` elements of memory to use and forget: asking for fresh pages costs more than copying."""
        key = (like.dtype, like.device)
        if key not in self._scratch or self._scratch[key].numel() < count:
            self._scratch[key] = like.new_empty(count)
        return self._scratch[key][:count]


def take(tensor: Tensor, axes: Axes, index: IndexCache) -> Tensor:
    """Return the part of `tensor` that stays, contiguous and without gradient history; a copy, if anything is cut."""
    wanted = [(dim, chosen) for dim, axis in enumerate(axes) if (chosen := index(axis)) is not None]
    tensor = tensor.detach()
    for step, (dim, chosen) in enumerate(wanted):
        # rows first: they are copied whole, and fewer are left to gather columns from
        out = None
        if step == 0 and len(wanted) > 1:
            shape = (*tensor.shape[:dim], len(chosen), *tensor.shape[dim + 1 :])
            out = index.scratch(tensor, prod(shape)).view(shape)
        tensor = torch.index_select(tensor, dim, chosen.to(tensor.device), out=out)
    return tensor.contiguous()
