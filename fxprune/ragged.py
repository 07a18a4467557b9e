"""Which factors may keep different units under each unit of an outer factor: the dimensions of each head, for example.

That is sound where every tensor holds the inner factor under exactly one occurrence of the outer one, and every op
lines the two up: in ``b h v, b g v -> b h g`` one v stands under two different dimensions, which may well be the same
factor, and the j-th kept unit of one head would meet the j-th of another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from fxprune.axes import Axis, Factor, factors_of, resolve
from fxprune.inferred import Axes, Inferred, Line, Use
from fxprune.rules.notation import Name, Pattern, Product

Cell = tuple[Factor, ...]  # the factors of one position: a product, with one part chosen of each concat


def ragged_pairs(inferred: Inferred, candidates: Sequence[Factor]) -> dict[Factor, Factor]:
    """Return inner -> outermost candidate under which it may be ragged."""
    possible = _under_one_product(inferred, set(candidates))
    for results in inferred.axes.values():
        for axes in results:
            _require_one_outer(axes, possible)
    for use in inferred.uses:
        _require_alignment(use, possible)
    return {inner: min(outers, key=candidates.index) for inner, outers in possible.items() if outers}


def _under_one_product(inferred: Inferred, wanted: set[Factor]) -> dict[Factor, set[Factor]]:
    """Return, for each factor, the factors that stand left of it in every product of a parameter or buffer."""
    possible: dict[Factor, set[Factor]] = {}
    for axes in inferred.tensors.values():
        for axis in axes:
            for cell in _cells(axis):
                for place, inner in enumerate(cell):
                    if inner in wanted:
                        outers = set(cell[:place]) & wanted - {inner}
                        possible[inner] = possible.get(inner, outers) & outers
    return possible


def _require_one_outer(axes: Axes, possible: dict[Factor, set[Factor]]) -> None:
    """Drop the outers that a position with the inner factor holds not at all, or more than once."""
    present = {inner for axis in axes for inner in factors_of(axis) if possible.get(inner)}
    if not present:
        return
    for choice in product(*map(_cells, axes)):
        cell = [factor for part in choice for factor in part]
        for inner in present.intersection(cell):
            possible[inner] = {outer for outer in possible[inner] if cell.count(outer) == 1}


def _require_alignment(use: Use, possible: dict[Factor, set[Factor]]) -> None:
    """Drop the outers that stand under another name in another operand or result."""
    holders = {factor for axis in use.names.values() for factor in factors_of(axis) if possible.get(factor)}
    for inner in holders:
        for outer in list(possible[inner]):
            partners: dict[str, set[str]] = {}
            for line in use.lines:
                _pair_names(line, use, (inner, outer), partners)
            if any(len(names) != 1 for names in partners.values()):
                possible[inner] = possible[inner] - {outer}


def _pair_names(line: Line, use: Use, pair: tuple[Factor, Factor], partners: dict[str, set[str]]) -> None:
    """Note the names that hold the outer factor beside each name that holds the inner one, in one tensor."""
    inner, outer = pair
    for choice in product(*map(_paths, line.dims())):
        names = [name for path in choice for name in path]
        held = {name: factors_of(use.names.get(name, ())) for name in names}
        for name in names:
            if inner in held[name]:
                partners.setdefault(name, set()).update(other for other in names if outer in held[other])


def _cells(axis: Axis) -> Iterator[Cell]:
    """Yield the ways to choose one part of every concat on `axis`."""
    choices: list[list[Cell]] = [
        [(term,)] if isinstance(term, Factor) else [cell for part in term.parts for cell in _cells(part)]
        for term in resolve(axis)
    ]
    for choice in product(*choices):
        yield tuple(factor for cell in choice for factor in cell)


def _paths(pattern: Pattern) -> list[tuple[str, ...]]:
    """Return the ways to choose one part of every concat in `pattern`."""
    if isinstance(pattern, Name):
        return [(pattern.name,)]
    parts = [_paths(part) for part in pattern.parts]
    if isinstance(pattern, Product):
        return [tuple(name for path in choice for name in path) for choice in product(*parts)]
    return [path for paths in parts for path in paths]
