"""The search for widths: of all that the target and the proportions allow, the best.

The family with the most options (heads x dimensions, and what the class ties to them) takes every option it has. To
each, the others are fitted: all as wide as the bound allows, at one common ratio, and where there are several, at a few
profiles around it. A bound is a number that grows with every width, so the common ratio is found by bisection, for all
options at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fxprune.latency.space import Columns, Space

PROPORTION = 2.0  # how far the ratio of any family may be from that of the first, either way
_PROFILE = (1 / 1.25, 1.0, 1.25)  # of a family, relative to the common ratio, where there are several
_MOST_PROFILES = 27
_BISECTIONS = 16
Count = Callable[[Mapping[str, "int | np.ndarray"], int], np.ndarray]  # (counts, candidates) -> (candidates,)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Choices of widths.

    Attributes:
        widths: (candidates, kinds).
        bound: (candidates,) what the bound counts.
        evenness: (candidates,) how equal the ratios of all kinds are: 0 is best.
    """

    widths: np.ndarray
    bound: np.ndarray
    evenness: np.ndarray

    def where(self, mask: np.ndarray) -> Candidates:
        """Return some of them."""
        return Candidates(self.widths[mask], self.bound[mask], self.evenness[mask])

    def best(self, value: np.ndarray, slack: float) -> int:
        """Return the place of the most even one whose `value` is within `slack` of the lowest."""
        near = np.flatnonzero(value <= value.min() + abs(value.min()) * slack)
        return int(near[np.argmin(self.evenness[near])])


def widest(space: Space, cost: Count, bound: float, proportion: float = PROPORTION) -> Candidates:
    """Return for each option of the first family the widest others with which `cost` is at most `bound`.

    Args:
        space: the widths there are.
        cost: grows with every width.
        bound: of it.
        proportion: how far the ratio of a family may be from that of the first.
    Returns:
        Only those that fit; there may be none.
    """
    found = [_fitted(space, cost, bound, profile, proportion) for profile in _profiles(len(space.families) - 1)]
    widths = np.unique(
        np.concatenate([each for each in found if len(each)] or [np.zeros((0, len(space.kinds)), int)]), axis=0
    )
    values = cost(_columns(space, widths), len(widths)) if len(widths) else np.zeros(0)
    return Candidates(widths, values, evenness(space, widths))


def evenness(space: Space, widths: np.ndarray) -> np.ndarray:
    """Return how far the fractions that stay of each kind are from one another: the variance of their logarithms."""
    logs = np.log(widths / np.array(space.dense))
    return logs.var(axis=1) if len(widths) else np.zeros(0)


def counts_of(space: Space, widths: np.ndarray) -> Columns:
    """Return the counts of each group, one column a candidate."""
    return _columns(space, widths)


def _profiles(others: int) -> Iterator[tuple[float, ...]]:
    """Yield multipliers of the common ratio, one for each family but the first."""
    if others < 2:
        yield (1.0,) * others
        return
    yield from itertools.islice(itertools.product(_PROFILE, repeat=others), _MOST_PROFILES)


def _fitted(space: Space, cost: Count, bound: float, profile: tuple[float, ...], proportion: float) -> np.ndarray:
    """Return the widest of one profile, for those options of the first family that leave room for any."""
    lead, *others = space.families
    count = len(lead.ratios)

    def at(common: np.ndarray) -> list[np.ndarray]:
        multiples = [np.clip(common * share, 1 / proportion, proportion) for share in profile]
        return [each.at(np.minimum(lead.ratios * n, 1.0)) for each, n in zip(others, multiples, strict=True)]

    def widths(places: list[np.ndarray]) -> np.ndarray:
        parts = [each.counts[place] for each, place in zip(others, places, strict=True)]
        return np.concatenate([lead.counts, *parts], axis=1)

    def fits(common: np.ndarray) -> np.ndarray:
        return cost(_columns(space, widths(at(common))), count) <= bound

    low, high = np.full(count, 1 / proportion), np.full(count, proportion)
    found, low = fits(low), np.where(fits(high), high, low)
    for _ in range(_BISECTIONS if others else 0):
        middle = (low + high) / 2
        good = fits(middle)
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    places = at(low)
    for each, place in zip(others, places, strict=True):
        in_proportion = each.ratios[place] >= lead.ratios / proportion - 1e-9
        found &= in_proportion | (place == len(each.ratios) - 1)
    rows: np.ndarray = widths(places)[found]
    return rows


def _columns(space: Space, widths: np.ndarray) -> Columns:
    return {name: widths[:, i] for i, kind in enumerate(space.kinds) for name in kind.groups}
