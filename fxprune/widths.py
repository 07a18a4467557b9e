"""Widths: which counts of units belong together, and which combinations of counts are possible.

Groups that share a matrix axis (heads x head_dim), or whose axes a model class keeps in proportion, form a
*component*. Each component has a list of options, from dense to one unit; an allocation picks one option of each.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TypeAlias

import networkx as nx

from fxprune.axes import Factor, units_of
from fxprune.groups import Group, Groups
from fxprune.locks import leaf_products, locked_groups
from fxprune.options import COUNTED, Counts, Options, OptionSolver, Table

__all__ = ["COUNTED", "AxisOf", "Component", "Constraints", "Counts", "above", "components"]

AxisOf: TypeAlias = tuple[str, int]  # (tensor, dimension)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """What the widths of a slim model must satisfy to be expressible by a config of its class.

    Attributes:
        ratios: sets of axes that must all shrink by the same ratio.
        multiples: (axes, n): their sizes must be multiples of what counts n in the dense model, such as the heads.
        fixed: axes that must stay dense.
        recomputed: buffers the class computes from its config, so that their content cannot be cut.
        numbers: nodes whose last dimension must stay dense, since the class computes a number from its size.
    """

    ratios: Sequence[Collection[AxisOf]] = ()
    multiples: Sequence[tuple[Collection[AxisOf], int]] = ()
    fixed: frozenset[AxisOf] = frozenset()
    recomputed: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()

    def locks(self, group: Group) -> str | None:
        """Say why `group` must stay dense, or None."""
        for member in group.members:
            if member.tensor in self.recomputed:
                return f"the model class computes {member.tensor} from its config"
            if (member.tensor, member.axis) in self.fixed:
                return f"no config of the model class changes {member}"
        return None


@dataclass(frozen=True, slots=True)
class Component:
    """Groups whose counts depend on one another."""

    groups: tuple[str, ...]
    options: Options = field(repr=False)

    def at(self, ratio: float) -> int:
        """Return the index of the widest option that is not wider than `ratio`, or of the narrowest."""
        table = self.options.table
        return next((i for i, (r, _) in enumerate(table) if r <= ratio + 1e-9), len(table) - 1)


def components(
    groups: Groups,
    constraints: Constraints,
    *,
    thin_heads: bool = True,
    drop_heads: bool = False,
    round_to: int = 1,
    every: bool = False,
) -> list[Component]:
    """Split the prunable groups into components and list the options of each.

    Args:
        groups: dense.
        constraints: from the model class; empty for a model that need not load as one.
        thin_heads: narrow the inner factor of a product first (every head gets thinner), else the outer one.
        drop_heads: allow both at any ratio, for widths that have no other way.
        round_to: counts are multiples of this, where the dense count is one; counts of heads are any.
        every: list every combination of heads and dims, not one a ratio.
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
    found: list[Component] = []
    tables: dict[object, Table] = {}
    linked = _linked(free.values(), distinct, [*ties, *map(list, steps)], free)
    for names, own in zip(linked, _products_of(linked, distinct, free), strict=True):
        solver = OptionSolver(names, own, ties, steps, free, thin_heads, drop_heads, round_to)
        if solver.key not in tables:  # the layers of a model are alike
            table = tuple(solver.every() if every else solver.table())
            tables[solver.key] = tables.setdefault(table, table)
        found.append(Component(tuple(names), Options(tables[solver.key], [v.names for v in solver.variables])))
    return found


def above(parts: Iterable[Component], floor: Mapping[str, int]) -> list[Component]:
    """Leave out the options that are narrower in some group than `floor`."""
    shared: dict[object, Table] = {}
    found = []
    for part in parts:
        options = part.options
        least = tuple(max(floor.get(name, 0) for name in names) for names in options.names)
        key = (id(options.table), least)
        if key not in shared:
            fits = (row for row in options.table if all(n >= low for n, low in zip(row[1], least, strict=True)))
            shared[key] = tuple(fits)
        found.append(Component(part.groups, Options(shared[key], options.names)))
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


def _products_of(
    parts: Sequence[Sequence[str]], products: Iterable[tuple[Factor, ...]], free: Mapping[Factor, Group]
) -> list[list[tuple[Factor, ...]]]:
    """Return the products of each component, which are linked to it by any of their factors."""
    part_of = {name: place for place, part in enumerate(parts) for name in part}
    found: list[list[tuple[Factor, ...]]] = [[] for _ in parts]
    for product in products:
        name = next(free[factor].name for factor in product if factor in free)
        found[part_of[name]].append(product)
    return found
