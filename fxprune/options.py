"""Options: what the groups of one component may be cut to, ratio by ratio."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, TypeAlias

from fxprune.axes import Factor
from fxprune.groups import Group

Counts: TypeAlias = dict[str, int]  # group -> kept units
Table: TypeAlias = tuple[tuple[float, tuple[int, ...]], ...]  # (ratio of the matrix axes, count of each variable)
MOST_COMBINATIONS = 4096
COUNTED = ("heads", "queries per key")  # whole numbers of them, whatever hardware likes


@dataclass(frozen=True, slots=True)
class Variable:
    """Groups that get the same count, a multiple of `step`: the same role and size in the layers of one component."""

    names: tuple[str, ...]
    size: int
    step: int = 1


class Options(Sequence[tuple[float, Counts]]):
    """What a component may be cut to, from widest to narrowest: (ratio of the matrix axes, counts).

    Args:
        table: the same with one count for each variable; components of equal layers share it.
        names: the groups of each variable.
    """

    def __init__(self, table: Table, names: Sequence[tuple[str, ...]]) -> None:
        self.table, self.names = table, names

    @property
    def family(self) -> object:
        """Equal for components that may be cut to the same counts: the layers of a model."""
        return id(self.table), tuple(map(len, self.names))

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, place: Any) -> Any:
        ratio, counts = self.table[place]
        return ratio, {name: n for n, names in zip(counts, self.names, strict=True) for name in names}


class OptionSolver:
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
        round_to: int = 1,
    ) -> None:
        self.variables = variables_of(names, free, round_to)
        self.thin_heads, self.drop_heads = thin_heads, drop_heads
        of = {name: i for i, variable in enumerate(self.variables) for name in variable.names}
        self.products = list(dict.fromkeys(tuple(self._term(f, free, of) for f in product) for product in products))
        spelled = {product: tuple(self._term(f, free, of) for f in product) for product in products}
        self.ties = [list(dict.fromkeys(spelled[p] for p in tie if p in spelled)) for tie in ties]
        self.ties = [tie for tie in self.ties if len(tie) > 1]
        near = [(p, c) for p, c in steps if p in spelled or c in spelled]
        counted = {p: tuple(self._term(f, free, of) for f in p) for pair in near for p in pair}
        self.steps = list(dict.fromkeys((counted[p], counted[c]) for p, c in near))
        self._tied_alone = False  # axes that are in no tie may stay dense

    @property
    def key(self) -> object:
        """What the options depend on: equal for the layers of a model."""
        sizes = tuple((variable.size, variable.step) for variable in self.variables)
        ties = tuple(map(tuple, self.ties))
        return sizes, tuple(self.products), ties, tuple(self.steps), self.thin_heads, self.drop_heads

    @staticmethod
    def _term(factor: Factor, free: Mapping[Factor, Group], of: Mapping[str, int]) -> tuple[int, int]:
        """A variable as (index, its size), a factor that stays as (-1, its size)."""
        assert isinstance(factor.size, int)
        return (of[free[factor].name], factor.size) if factor in free and free[factor].name in of else (-1, factor.size)

    def table(self) -> list[tuple[float, tuple[int, ...]]]:
        """Return (ratio, count of each variable), widest first."""
        steps = min(self._widest, MOST_COMBINATIONS)
        found = [self._best(step / steps) for step in range(steps, 0, -1)]
        return self._sorted(counts for counts in found if counts is not None) or self._relaxed().table()

    def every(self) -> list[tuple[float, tuple[int, ...]]]:
        """Return the same with every count of heads at every ratio, not only the one nearest to dense proportions."""
        steps = min(self._widest, MOST_COMBINATIONS)
        found = (counts for step in range(steps, 0, -1) for counts in self._searched(step / steps))
        return self._sorted(counts for counts in found if self._tied(counts)) or self._relaxed().every()

    def _sorted(self, found: Iterable[tuple[int, ...]]) -> list[tuple[float, tuple[int, ...]]]:
        """Return (ratio, counts), widest first; nothing if all are dense and axes outside of ties might stay."""
        options = sorted(((self._ratio(counts), counts) for counts in dict.fromkeys(found)), key=lambda o: -o[0])
        return [] if len(options) == 1 and self.ties and not self._tied_alone else options

    def _relaxed(self) -> OptionSolver:
        """Return the same solver, for which an axis that is in no tie may stay dense: where dims stay, heads go."""
        relaxed = copy(self)
        relaxed._tied_alone = True
        vars(relaxed).pop("_smallest", None)  # remembered of this one
        return relaxed

    def _ratio(self, counts: tuple[int, ...]) -> float:
        """The ratio of the widest axis, of those that do not just follow others."""
        return max(self._size(p, counts) / prod(n for _, n in p) for p in self._brought if p not in self._following)

    @cached_property
    def _following(self) -> frozenset[tuple[tuple[int, int], ...]]:
        """The products in no tie whose counts are those of products in one, as taps for each head."""
        tied = {p for tie in self.ties for p in tie}
        settled = {i for p in tied for i, _ in p}
        return frozenset(p for p in self.products if p not in tied and all(i < 0 or i in settled for i, _ in p))

    @property
    def _brought(self) -> list[tuple[tuple[int, int], ...]]:
        """The products that are brought to a ratio."""
        return [p for tie in self.ties for p in tie] if self._tied_alone else self.products

    @property
    def _widest(self) -> int:
        return max(prod(size for index, size in product if index >= 0) for product in self.products)

    def _best(self, ratio: float) -> tuple[int, ...] | None:
        """Return the counts that come nearest to `ratio` on every axis, among those no tie forbids."""
        direct = self._direct(ratio)
        if direct is not None:
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
        return next((ratio for ratio in ratios if self._direct(ratio) is not None), 1.0)

    def _direct(self, ratio: float) -> tuple[int, ...] | None:
        """Return the counts without a search, if no tie forbids them; axes that follow others may have to come last."""
        orders = (self._filled(ratio, {}, last) for last in ((), self._following))
        return next((counts for counts in orders if self._tied(counts)), None)

    def _filled(self, ratio: float, given: Mapping[int, int], last: Collection[Any] = ()) -> tuple[int, ...]:
        """Bring each axis to `ratio` by one factor; those with the least choice go first, those of `last` last."""
        counts = dict(given)
        for product in sorted(self._brought, key=lambda p: (p in last, sum(i >= 0 for i, _ in p), len(p))):
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
        step = self.variables[chosen].step
        counts[chosen] = min(max(round(ratio * prod(n for _, n in product) / others / step), 1) * step, size)

    def _tied(self, counts: tuple[int, ...]) -> bool:
        if any(n % variable.step for n, variable in zip(counts, self.variables, strict=True)):
            return False
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


def variables_of(names: Iterable[str], free: Mapping[Factor, Group], round_to: int = 1) -> list[Variable]:
    """Put groups of the same role and size together; counts of heads need not be multiples of `round_to`."""
    by_key: dict[tuple[str, int], list[str]] = {}
    groups = {group.name: group for group in free.values()}
    for name in names:
        by_key.setdefault((groups[name].role, groups[name].size), []).append(name)
    return [
        Variable(tuple(members), size, round_to if role not in COUNTED and size % round_to == 0 else 1)
        for (role, size), members in by_key.items()
    ]
