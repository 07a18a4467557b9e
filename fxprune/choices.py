"""Choices of a global allocation: what each component may be cut to, what that costs, and what score it loses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import torch
from torch import Tensor

from fxprune.budget import Cost
from fxprune.groups import Groups
from fxprune.unit_scores import UnitScores
from fxprune.widths import Constraints, Counts, components


@dataclass(frozen=True, slots=True)
class Choice:
    """What one component may be cut to.

    Attributes:
        names: groups of each variable.
        counts: (options, variables), widest first.
        cost: what of the cost depends on it.
    """

    names: tuple[tuple[str, ...], ...]
    counts: np.ndarray
    cost: Cost

    def at(self, option: int) -> Counts:
        return {name: int(n) for n, names in zip(self.counts[option], self.names, strict=True) for name in names}

    def columns(self) -> dict[str, np.ndarray]:
        return {name: column for column, names in zip(self.counts.T, self.names, strict=True) for name in names}


def choices_of(cost: Cost, groups: Groups, constraints: Constraints, min_keep: float, round_to: int) -> list[Choice]:
    """Return the options of each component: thinner heads, fewer heads, and both."""
    ways = [
        components(groups, constraints, thin_heads=thin, drop_heads=drop, round_to=round_to)
        for thin, drop in ((True, False), (False, False), (True, True))
    ]
    shared: dict[object, np.ndarray] = {}
    found = []
    for alike in zip(*ways, strict=True):
        names = tuple(alike[0].options.names)
        least = tuple(max(1, ceil(min_keep * groups[group[0]].size)) for group in names)
        key = (*(id(part.options.table) for part in alike), least)
        if key not in shared:  # the layers of a model are alike
            rows = {counts for part in alike for _, counts in part.options.table}
            wide = [row for row in rows if all(n >= low for n, low in zip(row, least, strict=True))]
            shared[key] = np.array(sorted(wide, key=lambda row: (-sum(row), row)), dtype=np.int64)
        found.append(Choice(names, shared[key], cost.share(alike[0].groups)))
    return found


def narrower(choice: Choice, now: Counts) -> Choice:
    """Leave out what is wider than the groups are now; the narrowest is left in any case."""
    fits = (choice.counts <= np.array([min(now[name] for name in names) for names in choice.names])).all(1)
    return replace(choice, counts=choice.counts[fits])


def costs_of(choice: Choice, counts: Mapping[str, int]) -> np.ndarray:
    """Return the cost of each option beside the widths of the others."""
    costs = choice.cost.count({**counts, **choice.columns()})  # type: ignore[dict-item]
    return np.broadcast_to(np.asarray(costs, dtype=np.float64), len(choice.counts))


def losses_of(choice: Choice, scores: UnitScores) -> np.ndarray:
    """Return the score that goes with each option: that of the worst units of every group, over all outer units."""
    lost = np.zeros(len(choice.counts))
    for name, column in choice.columns().items():
        if name in scores:  # one unit that is left is not ranked any more
            sums = worst_sums(scores[name])
            lost += sums[len(sums) - 1 - column]
    return lost


def worst_sums(score: Tensor) -> np.ndarray:
    """Return the summed scores of the worst 0, 1, 2, ... units.

    >>> worst_sums(torch.tensor([3.0, 1.0, 2.0])).tolist()
    [0.0, 1.0, 3.0, 6.0]
    """
    ordered = score.double().sort(-1).values
    ordered = ordered if ordered.ndim == 1 else ordered.sum(0)
    return np.concatenate(([0.0], torch.cumsum(ordered, 0).numpy()))
