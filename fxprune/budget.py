"""What a model costs as a function of the sizes of its groups: parameters here, FLOPs in `flops`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import ClassVar, Protocol

from torch import nn
from torch.fx import GraphModule

from fxprune.axes import Axis, Concat, Factor, factors_of, resolve, units_of
from fxprune.errors import UsageError
from fxprune.groups import Groups
from fxprune.sizes import Symbolic
from fxprune.traced import tensor_of

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9, "t": 10**12}


def parse_count(text: str | float, dense: int) -> int:
    """Read a target: ``15M``, ``14500000`` or ``25%`` of `dense`.

    Raises:
        UsageError: the text is none of these.

    >>> parse_count("15M", 109_500_000), parse_count("25%", 1000)
    (15000000, 250)
    """
    match = re.fullmatch(r"\s*([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([kKmMbBgGtT%]?)\s*", str(text))
    if match is None:
        raise UsageError(f"cannot read the target {text!r}", remedy="write it as 15M, 14500000 or 25%")
    # exact: 1.001 * 10**6 as floats is 1000999.99...
    number, unit = Fraction(match[1].replace(",", "").replace("_", "")), match[2].lower()
    return int(dense * number / 100) if unit == "%" else int(number * _UNITS[unit])


class Cost(Protocol):
    """A number that falls with the sizes of the groups, and that a target may bound."""

    @property
    def noun(self) -> str:
        """What is counted, in the plural."""

    def count(self, counts: Mapping[str, int]) -> int:
        """Return the cost with `counts` units in the groups (others as they are)."""

    def narrowest(self, counts: Mapping[str, int]) -> float:
        """Return the fraction that stays of the axis that loses most."""

    def share(self, names: Collection[str]) -> Cost:
        """Return the part of the cost that depends on the groups `names`."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Reads the size an axis has with other numbers of units in its groups.

    Attributes:
        names: group of each factor.
        symbols: value of each symbol, such as the batch, where axes may hold some.
    """

    names: Mapping[Factor, str]
    symbols: Mapping[str, int]

    @classmethod
    def of(cls, groups: Groups, symbols: Mapping[str, int] | None = None) -> Sizes:
        """Read the names of `groups`."""
        return cls({group.factor: group.name for group in groups}, symbols or {})

    def __call__(self, axis: Axis, counts: Mapping[str, int]) -> int:
        """Return the size of `axis`, which is resolved."""
        size = 1
        for term in axis:
            if isinstance(term, Concat):
                size *= sum(self(resolve(part), counts) for part in term.parts)
            elif isinstance(term.size, Symbolic):
                size *= term.size.coefficient * prod(self.symbols[symbol] for symbol in term.size.symbols)
            else:
                name = self.names.get(term)
                size *= units_of(term) if name is None else counts.get(name, term.size)
        return size

    def products(self, products: Mapping[tuple[Axis, ...], int], counts: Mapping[str, int]) -> int:
        """Return the sum of products of axis sizes, each as many times as given."""
        sizes: dict[Axis, int] = {}
        total = 0
        for axes, times in products.items():
            for axis in axes:
                if axis not in sizes:
                    sizes[axis] = self(axis, counts)
                times *= sizes[axis]
            total += times
        return total

    def depending(
        self, products: Mapping[tuple[Axis, ...], int], names: Collection[str]
    ) -> dict[tuple[Axis, ...], int]:
        """Return the products that hold a group of `names`."""
        return {
            axes: times
            for axes, times in products.items()
            if any(self.names.get(factor) in names for axis in axes for factor in factors_of(axis))
        }

    def narrowest(self, products: Mapping[tuple[Axis, ...], int], counts: Mapping[str, int]) -> float:
        """Return the fraction that stays of the axis that loses most."""
        axes = dict.fromkeys(axis for product in products for axis in product)
        return min(self(axis, counts) / self(axis, {}) for axis in axes)


@dataclass(frozen=True, slots=True)
class Budget:
    """Counts the parameters of a model from the sizes of its groups, without touching a weight."""

    tensors: Mapping[tuple[Axis, ...], int]
    sizes: Sizes
    outside: int  # parameters no graph node reads: they are not cut
    noun: ClassVar[str] = "parameters"

    @classmethod
    def of(cls, traced: GraphModule, groups: Groups) -> Budget:
        """Read the axis types of all parameters, tied ones once."""
        inferred = groups.inferred.tensors
        read = [name for name in inferred if isinstance(tensor_of(traced, name), nn.Parameter)]
        total = sum(parameter.numel() for parameter in traced.parameters())
        outside = total - sum(tensor_of(traced, name).numel() for name in read)
        tensors: dict[tuple[Axis, ...], int] = {}
        for name in read:
            axes = tuple(map(resolve, inferred[name]))
            tensors[axes] = tensors.get(axes, 0) + 1
        return cls(tensors, Sizes.of(groups), outside)

    def parameters(self, counts: Mapping[str, int]) -> int:
        """Return the number of parameters with `counts` units in the groups (others as they are)."""
        return self.outside + self.sizes.products(self.tensors, counts)

    count = parameters

    def narrowest(self, counts: Mapping[str, int]) -> float:
        """Return the fraction that stays of the axis that loses most."""
        return self.sizes.narrowest(self.tensors, counts)

    def share(self, names: Collection[str]) -> Budget:
        """Return the part of the cost that depends on the groups `names`."""
        return Budget(self.sizes.depending(self.tensors, names), self.sizes, 0)
