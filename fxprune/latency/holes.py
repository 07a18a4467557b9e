"""Holes: integers of a file that follow the widths, each known as a polynomial in the sizes of the groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations_with_replacement

from fxprune.axes import Axis, factors_of, resolve
from fxprune.errors import DeployError
from fxprune.latency.space import Space
from fxprune.sizes import Symbolic

_LARGEST = 64  # numerator and denominator of what an integer is of an axis
_SUMMED = 3  # axes laid end to end, such as packed projections


@dataclass(frozen=True, slots=True)
class Hole:
    """`constant`, or `share` times the sum of the sizes of `axes`."""

    space: Space
    axes: tuple[Axis, ...] = ()
    share: Fraction = Fraction(1)
    constant: int = 0

    def __call__(self, counts: Mapping[str, int]) -> int:
        """Return the number at some widths."""
        if not self.axes:
            return self.constant
        number = self.share * sum(self.space.sizes(axis, counts) for axis in self.axes)
        if number.denominator != 1:
            raise DeployError(f"a size of the ONNX file would be {number}")
        return int(number)


class HoleFinder:
    """Finds what a number is, from its value at two widths."""

    def __init__(self, space: Space, first: tuple[int, ...], second: tuple[int, ...]) -> None:
        self.space = space
        self.axes = distinct_axes(space, first, second)
        self._found: dict[tuple[int, int], Hole] = {}

    def __call__(self, a: int, b: int) -> Hole:
        """Return the hole that is `a` at the first widths and `b` at the second.

        Raises:
            DeployError: no axis has these sizes.
        """
        if a == b:
            return Hole(self.space, constant=a)
        if (a, b) not in self._found:
            self._found[a, b] = self._find(a, b)
        return self._found[a, b]

    def _find(self, a: int, b: int) -> Hole:
        for parts in range(1, _SUMMED + 1):
            found = [hole for hole in self._sums(a, b, parts) if _is_plain(hole.share)]
            if found:
                return min(found, key=lambda hole: (hole.share.denominator, hole.share.numerator))
        raise DeployError("the ONNX file has a number that is the size of no axis", cause=f"{a} and {b}")

    def _sums(self, a: int, b: int, parts: int) -> Iterator[Hole]:
        for chosen in combinations_with_replacement(self.axes, parts):
            first, second = sum(n for n, _ in chosen), sum(m for _, m in chosen)
            if a * second == b * first:
                yield Hole(self.space, tuple(self.axes[key] for key in chosen), Fraction(a, first))


def distinct_axes(space: Space, first: tuple[int, ...], second: tuple[int, ...]) -> dict[tuple[int, int], Axis]:
    """Return the axes of a model whose size differs between two widths, by their sizes there; the simplest of each."""
    before, after = space.counts(first), space.counts(second)
    found: dict[tuple[int, int], Axis] = {}
    for axis in sorted(dict.fromkeys(_axes(space)), key=lambda axis: len(factors_of(axis))):
        sizes = space.sizes(axis, before), space.sizes(axis, after)
        if sizes[0] != sizes[1]:
            found.setdefault(sizes, axis)
    return found


def _axes(space: Space) -> Iterable[Axis]:
    """Yield the axes without batch or length, and the factors in them."""
    inferred = space.groups.inferred
    shapes = [*inferred.tensors.values(), *(axes for results in inferred.axes.values() for axes in results)]
    for shape in shapes:
        for axis in map(resolve, shape):
            terms = tuple(f for f in factors_of(axis) if not isinstance(f.size, Symbolic))
            yield from ((term,) for term in terms)
            if len(terms) == len(factors_of(axis)):
                yield axis


def _is_plain(share: Fraction) -> bool:
    return 0 < share.numerator <= _LARGEST and share.denominator <= _LARGEST
