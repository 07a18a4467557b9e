"""Widths: which counts of units belong together, and which combinations of counts are possible.

Groups that share a matrix axis (heads x head_dim), or whose axes a model class keeps in proportion, form a
*component*. Each component has a list of options, from dense to one unit; an allocation picks one option of each.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import TypeAlias

import networkx as nx

from fxprune.axes import Factor, units_of
from fxprune.groups import Group, Groups
from fxprune.locks import leaf_products, locked_groups

Counts: TypeAlias = dict[str, int]  # group -> kept units
AxisOf: TypeAlias = tuple[str, int]  # (tensor, dimension)
MOST_COMBINATIONS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """What the widths of a slim model must satisfy to be expressible by a config of its class.

    Attributes:
        ratios: sets of axes that must all shrink by the same ratio.
        multiples: (axes, n): their sizes must be multiples of what counts n in the dense model, such as the heads.
        fixed: axes that must stay dense.
        recomputed: buffers the class computes from its config, so that their content cannot be cut.
    """

    ratios: Sequence[Collection[AxisOf]] = ()
    multiples: Sequence[tuple[Collection[AxisOf], int]] = ()
    fixed: frozenset[AxisOf] = frozenset()
    recomputed: frozenset[str] = frozenset()

    def locks(self, group: Group) -> str | None:
        """Say why `group` must stay dense, or None."""
        for member in group.members:
            if member.tensor in self.recomputed:
                return f"the model class computes {member.tensor} from its config"
            if (member.tensor, member.axis) in self.fixed:
                return f"no config of the model class changes {member}"
        return None


@dataclass(frozen=True, slots=True)
class _Variable:
    """Groups that get the same count: the same role and size in the layers of one component."""

    names: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Component:
    """Groups whose counts depend on one another.

    Attributes:
        options: from widest to narrowest; (ratio of the matrix axes, counts).
    """

    groups: tuple[str, ...]
    options: tuple[tuple[float, Counts], ...] = field(repr=False)

    def at(self, ratio: float) -> int:
        """Return the index of the widest option that is not wider than `ratio`, or of the narrowest."""
        return next((i for i, (r, _) in enumerate(self.options) if r <= ratio + 1e-9), len(self.options) - 1)


def components(
    groups: Groups, constraints: Constraints, *, thin_heads: bool = True, drop_heads: bool = False
) -> list[Component]:
    """Split the prunable groups into components and list the options of each.

    Args:
        groups: dense.
        constraints: from the model class; empty for a model that need not load as one.
        thin_heads: narrow the inner factor of a product first (every head gets thinner), else the outer one.
        drop_heads: allow both at any ratio, for widths that have no other way.
    """
    locked = locked_groups(groups, constraints)
    free = {group.factor: group for group in groups.prunable if group.name not in locked}
    products = _products(groups, set(free))
    distinct = list(dict.fromkeys(product for on_axis in products.values() for product in on_axis))
    ties = [[p for axis in ratio for p in products.get(axis, ())] for ratio in constraints.ratios]
    steps = [
        (product, counted)
        for axes, n in constraints.multiples
        for counted in _counting(distinct, n)
        for product in dict.fromkeys(p for axis in axes for p in products.get(axis, ()))
    ]
    found = []
    for names in _linked(free.values(), distinct, [*ties, *map(list, steps)], free):
        own = [p for p in distinct if any(free[f].name in names for f in p if f in free)]
        solver = _Options(names, own, ties, steps, free, thin_heads, drop_heads)
        found.append(Component(tuple(names), tuple(solver.options())))
    return found


def _products(groups: Groups, free: set[Factor]) -> dict[AxisOf, list[tuple[Factor, ...]]]:
    """Return the products that hold a free factor, by axis; a concat has one for each part."""
    return {
        (tensor, dim): [product for product in leaf_products(axis) if free.intersection(product)]
        for tensor, axes in groups.inferred.tensors.items()
        for dim, axis in enumerate(axes)
    }


def _counting(products: Iterable[tuple[Factor, ...]], n: int) -> list[tuple[Factor, ...]]:
    """Return the outer parts of products that count `n`: the heads in heads x dims."""
    prefixes = (product[:length] for product in products for length in range(1, len(product)))
    return list(dict.fromkeys(part for part in prefixes if prod([units_of(f) for f in part]) == n))


def _linked(
    groups: Iterable[Group],
    products: Iterable[tuple[Factor, ...]],
    ties: Sequence[Sequence[tuple[Factor, ...]]],
    free: Mapping[Factor, Group],
) -> list[list[str]]:
    graph: nx.Graph = nx.Graph()
    graph.add_nodes_from(group.name for group in groups)
    for tie in [*([product] for product in products), *ties]:
        members = [free[factor].name for product in tie for factor in product if factor in free]
        graph.add_edges_from(itertools.pairwise(members))
    order = {group.name: i for i, group in enumerate(free.values())}
    parts = [sorted(part, key=order.__getitem__) for part in nx.connected_components(graph)]
    return sorted(parts, key=lambda part: order[part[0]])


class _Options:
    """Finds the possible counts of one component, ratio by ratio."""

    def __init__(
        self,
        names: list[str],
        products: list[tuple[Factor, ...]],
        ties: Sequence[Sequence[tuple[Factor, ...]]],
        steps: Sequence[tuple[tuple[Factor, ...], tuple[Factor, ...]]],
        free: Mapping[Factor, Group],
        thin_heads: bool,
        drop_heads: bool,
    ) -> None:
        self.variables = _variables(names, free)
        self.thin_heads, self.drop_heads = thin_heads, drop_heads
        of = {name: i for i, variable in enumerate(self.variables) for name in variable.names}
        self.products = list(dict.fromkeys(tuple(self._term(f, free, of) for f in product) for product in products))
        spelled = {product: tuple(self._term(f, free, of) for f in product) for product in products}
        self.ties = [list(dict.fromkeys(spelled[p] for p in tie if p in spelled)) for tie in ties]
        self.ties = [tie for tie in self.ties if len(tie) > 1]
        counted = {p: tuple(self._term(f, free, of) for f in p) for pair in steps for p in pair}
        self.steps = list(dict.fromkeys((counted[p], counted[c]) for p, c in steps if p in spelled or c in spelled))

    @staticmethod
    def _term(factor: Factor, free: Mapping[Factor, Group], of: Mapping[str, int]) -> tuple[int, int]:
        """A variable as (index, its size), a factor that stays as (-1, its size)."""
        assert isinstance(factor.size, int)
        return (of[free[factor].name], factor.size) if factor in free and free[factor].name in of else (-1, factor.size)

    def options(self) -> list[tuple[float, Counts]]:
        """Return (ratio, counts), widest first."""
        steps = min(self._widest, MOST_COMBINATIONS)
        found = [self._best(step / steps) for step in range(steps, 0, -1)]
        distinct = dict.fromkeys(counts for counts in found if counts is not None)
        return sorted(((self._ratio(counts), self._named(counts)) for counts in distinct), key=lambda o: -o[0])

    def _ratio(self, counts: tuple[int, ...]) -> float:
        """The ratio of the widest axis."""
        return max(self._size(p, counts) / prod(n for _, n in p) for p in self.products)

    @property
    def _widest(self) -> int:
        return max(prod(size for index, size in product if index >= 0) for product in self.products)

    def _named(self, counts: tuple[int, ...]) -> Counts:
        return {name: n for n, variable in zip(counts, self.variables, strict=True) for name in variable.names}

    def _best(self, ratio: float) -> tuple[int, ...] | None:
        """Return the counts that come nearest to `ratio` on every axis, among those no tie forbids."""
        direct = self._filled(ratio, {})
        if self._tied(direct):
            return direct
        if ratio > self._smallest and not self.drop_heads:
            return None  # between two widths that keep all heads
        allowed = [counts for counts in self._searched(ratio) if self._tied(counts)]
        return min(allowed, key=lambda counts: self._cost(counts, ratio), default=None)

    @cached_property
    def _smallest(self) -> float:
        """The smallest ratio that needs no search; 1 when there is none but dense."""
        steps = min(self._widest, MOST_COMBINATIONS)
        ratios = (step / steps for step in range(1, steps))
        return next((ratio for ratio in ratios if self._tied(self._filled(ratio, {}))), 1.0)

    def _filled(self, ratio: float, given: Mapping[int, int]) -> tuple[int, ...]:
        """Bring each axis to `ratio` by one factor; those with the least choice go first."""
        counts = dict(given)
        for product in sorted(self.products, key=lambda p: (sum(i >= 0 for i, _ in p), len(p))):
            self._fill(product, ratio, counts)
        return tuple(counts.get(i, variable.size) for i, variable in enumerate(self.variables))

    def _searched(self, ratio: float) -> Iterable[tuple[int, ...]]:
        """Outer factors take every count, the others what brings their axis to `ratio`."""
        outer = sorted(self._outer() - {p[-1][0] for p in self.products})
        ranges = [range(self.variables[i].size, 0, -1) for i in outer]
        for chosen in itertools.product(*ranges):
            yield self._filled(ratio, dict(zip(outer, chosen, strict=True)))

    def _fill(self, product: tuple[tuple[int, int], ...], ratio: float, counts: dict[int, int]) -> None:
        open_ = [(i, size) for i, size in product if i >= 0 and i not in counts]
        if not open_:
            return
        chosen, size = open_[-1 if self.thin_heads else 0]
        others = prod(counts.get(i, n) for i, n in product if i != chosen)
        counts[chosen] = min(max(round(ratio * prod(n for _, n in product) / others), 1), size)

    def _tied(self, counts: tuple[int, ...]) -> bool:
        for tie in self.ties:
            left = [self._size(product, counts) for product in tie]
            dense = [prod(size for _, size in product) for product in tie]
            if any(left[0] * d != n * dense[0] for n, d in zip(left, dense, strict=True)):
                return False
        return all(self._size(p, counts) % self._size(c, counts) == 0 for p, c in self.steps)

    def _size(self, product: tuple[tuple[int, int], ...], counts: tuple[int, ...]) -> int:
        return prod(counts[i] if i >= 0 else size for i, size in product)

    def _cost(self, counts: tuple[int, ...], ratio: float) -> tuple[float, float]:
        off = [abs(self._size(p, counts) / prod(n for _, n in p) - ratio) for p in self.products]
        outer = prod(counts[i] / self.variables[i].size for i in self._outer())
        return round(max(off), 6), -outer if self.thin_heads else outer

    def _outer(self) -> set[int]:
        return {i for product in self.products for i, _ in product[:-1] if i >= 0}


def _variables(names: Iterable[str], free: Mapping[Factor, Group]) -> list[_Variable]:
    by_key: dict[tuple[str, int], list[str]] = {}
    groups = {group.name: group for group in free.values()}
    for name in names:
        by_key.setdefault((groups[name].role, groups[name].size), []).append(name)
    return [_Variable(tuple(members), size) for (_, size), members in by_key.items()]
