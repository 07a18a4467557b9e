"""The widths that can be chosen: families of equal layers, and the kinds of groups that get one count in each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil

import numpy as np

from fxprune.budget import Sizes
from fxprune.groups import Groups
from fxprune.widths import Component, Constraints, Counts, components

MOST_OPTIONS = 20_000  # of one family; more are thinned out evenly
Columns = dict[str, np.ndarray]  # group -> counts, one a candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Groups that always get the same count: the heads of all layers, say.

    Attributes:
        name: of the groups, numbers folded.
        role: heads, qk, value, hidden or inner.
        groups: their names.
        size: units now.
    """

    name: str
    role: str
    groups: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Kinds whose counts depend on one another, and what they may be, widest first.

    Attributes:
        kinds: heads, query and value dimensions of all layers, say.
        counts: (options, kinds).
        ratios: (options,) fraction that stays of the axes.
    """

    kinds: tuple[Kind, ...]
    counts: np.ndarray = field(repr=False)
    ratios: np.ndarray = field(repr=False)

    def at(self, ratio: np.ndarray) -> np.ndarray:
        """Return for each ratio the widest option that is not wider, or the narrowest."""
        place = np.searchsorted(-self.ratios, -(ratio + 1e-9))
        return np.minimum(place, len(self.ratios) - 1)

    def columns(self, options: np.ndarray) -> Columns:
        """Return the counts of each group at these options."""
        chosen = self.counts[options]
        return {name: chosen[..., i] for i, kind in enumerate(self.kinds) for name in kind.groups}


@dataclass(frozen=True)
class Space:
    """All widths of one model that a latency is asked about.

    Attributes:
        groups: dense.
        families: the most entangled first.
    """

    groups: Groups
    families: tuple[Family, ...]

    @classmethod
    def of(cls, groups: Groups, limits: Constraints, *, min_keep: float, round_to: int = 1) -> Space:
        """List the families of a model.

        Args:
            groups: dense.
            limits: what the model class demands, if the result must load as one.
            min_keep: fraction of every group that stays at least.
            round_to: counts are multiples of this, where the dense count is one; heads are whole numbers.
        """
        alike: dict[object, list[Component]] = {}
        for part in components(groups, limits, round_to=round_to, every=True):
            alike.setdefault(part.options.family, []).append(part)
        families = [_family(groups, parts, min_keep) for parts in alike.values()]
        return cls(groups, tuple(sorted(families, key=lambda family: (-len(family.kinds), -len(family.ratios)))))

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """All kinds, in the order of the families."""
        return tuple(kind for family in self.families for kind in family.kinds)

    @cached_property
    def sizes(self) -> Sizes:
        """Reads sizes of axes."""
        return Sizes.of(self.groups)

    def counts(self, widths: Sequence[int]) -> Counts:
        """Return the count of each group, of one width a kind."""
        return {name: int(n) for kind, n in zip(self.kinds, widths, strict=True) for name in kind.groups}

    def widths(self, counts: Mapping[str, int]) -> tuple[int, ...]:
        """Return one width a kind."""
        return tuple(int(counts.get(kind.groups[0], kind.size)) for kind in self.kinds)

    @property
    def dense(self) -> tuple[int, ...]:
        """The widths of now."""
        return tuple(kind.size for kind in self.kinds)

    @property
    def narrowest(self) -> tuple[int, ...]:
        """The widths where every family has its narrowest option."""
        return tuple(int(n) for family in self.families for n in family.counts[-1])

    def draw(self, count: int, seed: int = 0, spread: float = 1.6) -> list[tuple[int, ...]]:
        """Return widths from all over the space, families in no more than `spread` of proportion."""
        rng = np.random.default_rng(seed)
        low = max(float(family.ratios[-1]) for family in self.families)
        found: dict[tuple[int, ...], None] = {}
        for place in (np.arange(count) + 0.5) / count:
            around = low ** (1 - place)
            found[tuple(n for family in self.families for n in _draw_one(family, around, spread, rng))] = None
        return list(found)


def _draw_one(family: Family, around: float, spread: float, rng: np.random.Generator) -> list[int]:
    ratio = min(1.0, around * spread ** rng.uniform(-1, 1))
    nearest = np.flatnonzero(np.abs(family.ratios - ratio) <= np.abs(family.ratios - ratio).min() + 0.02)
    return [int(n) for n in family.counts[rng.choice(nearest)]]


def _family(groups: Groups, parts: Sequence[Component], min_keep: float) -> Family:
    names = [
        tuple(name for part in parts for name in part.options.names[i]) for i in range(len(parts[0].options.names))
    ]
    kinds = tuple(_kind(groups, each) for each in names)
    rows = [(ratio, counts) for ratio, counts in parts[0].options.table]
    least = [max(1, ceil(min_keep * kind.size)) for kind in kinds]
    wide = [row for row in rows if all(n >= low for n, low in zip(row[1], least, strict=True))] or rows[:1]
    step = ceil(len(wide) / MOST_OPTIONS)
    kept = [*wide[:-1:step], wide[-1]] if step > 1 else wide
    return Family(
        kinds=kinds,
        counts=np.array([counts for _, counts in kept], dtype=np.int64).reshape(len(kept), len(kinds)),
        ratios=np.array([ratio for ratio, _ in kept]),
    )


def _kind(groups: Groups, names: tuple[str, ...]) -> Kind:
    first = groups[names[0]]
    folded = re.sub(r"(?<=\.)\d+(?=\.)", "*", names[0])
    return Kind(name=folded if len(names) > 1 else names[0], role=first.role, groups=names, size=first.size)
