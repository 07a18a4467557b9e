"""Which entries of a tensor a cut removes, found without the rewriter's own code."""

from __future__ import annotations

import torch
from torch import Tensor

from fxprune.axes import Axis, Factor, factors_of, resolve, size_of
from fxprune.units import Kept
from fxprune.verify.symbols import Symbols

Table = dict[Factor, list[Tensor]]  # for each occurrence in a product: the unit at each position, -1 where absent


def kept_entries(axes: tuple[Axis, ...], kept: Kept, symbols: Symbols) -> Tensor | None:
    """Return the entries of a tensor that stay, broadcastable to its shape; None if all do.

    A ragged factor is looked up beside its outer factor, which may stand on another axis.
    """
    table: Table = {}
    for dim, axis in enumerate(axes):
        if any(type(factor.size) is int for factor in factors_of(axis)):
            shape = [-1 if i == dim else 1 for i in range(len(axes))]
            for factor, columns in unit_table(axis, symbols).items():
                table.setdefault(factor, []).extend(column.reshape(shape) for column in columns)
    mask: Tensor | None = None
    for factor, units in kept.units.items():
        for column in table.get(factor, []):
            stays = _lookup(units, column, table[kept.under[factor]][0] if units.ndim == 2 else None)
            mask = stays if mask is None else mask & stays
    return mask


def unit_table(axis: Axis, symbols: Symbols) -> Table:
    """Return the units each position of `axis` belongs to.

    A position of heads x dims belongs to one head and one dim; a position of a concat to the units of its part.
    """
    table: Table = {}
    length = 1
    for term in resolve(axis):
        width = _length((term,), symbols)
        inner = {term: [torch.arange(width)]} if isinstance(term, Factor) else _beside(term.parts, symbols)
        table = {factor: [column.repeat_interleave(width) for column in found] for factor, found in table.items()}
        for factor, found in inner.items():
            table.setdefault(factor, []).extend(column.repeat(length) for column in found)
        length *= width
    return table


def _beside(parts: tuple[Axis, ...], symbols: Symbols) -> Table:
    tables = [(unit_table(part, symbols), _length(part, symbols)) for part in parts]
    table: Table = {}
    for factor in dict.fromkeys(factor for found, _ in tables for factor in found):
        depth = max(len(found.get(factor, ())) for found, _ in tables)
        table[factor] = [
            torch.cat([_column(found.get(factor, []), i, width) for found, width in tables]) for i in range(depth)
        ]
    return table


def _column(columns: list[Tensor], i: int, width: int) -> Tensor:
    return columns[i] if i < len(columns) else torch.full((width,), -1)


def _lookup(units: Tensor, column: Tensor, outer: Tensor | None) -> Tensor:
    found = units[column.clamp_min(0)] if outer is None else units[outer.clamp_min(0), column.clamp_min(0)]
    return found | (column < 0)


def _length(axis: Axis, symbols: Symbols) -> int:
    size = symbols(size_of(axis))
    assert size is not None, f"no tensor shows the size {size_of(axis)}"
    return size
