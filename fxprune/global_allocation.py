"""Global allocation: the units with the least score per saved parameter or FLOP go first, wherever they are.

Each component of groups has a list of options, from dense to narrow. At a price per parameter (or FLOP) every component
takes the option that loses least: its lost score plus the price of what it keeps. That is what a greedy walk along the
concave hull of (score lost, cost saved) ends at. The price at which the model fits the budget is found by bisection;
what a component saves depends on the widths of the others, so they choose in turn until none changes its mind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fxprune.allocation import TOLERANCE
from fxprune.budget import Cost
from fxprune.choices import Choice, choices_of, costs_of, losses_of, narrower
from fxprune.errors import PlanError
from fxprune.groups import Groups
from fxprune.unit_scores import UnitScores, check_scores
from fxprune.widths import Constraints, Counts

MIN_KEEP = 0.1  # of every group: a score says little about what happens when a whole layer vanishes
_RANGE, _BISECTIONS, _TURNS, _WIDENINGS, _STEPS = 40.0, 28, 4, 256, 4096


class GlobalAllocation:
    """Spreads a budget over the groups of one model, as often as wanted: scores and widths may have changed.

    Args:
        cost: parameters or FLOPs.
        groups: dense.
        target: what the cost may be at the end.
        constraints: what the model class demands, if the result must load as one.
        min_keep: fraction of every group that stays at least.
        round_to: counts are multiples of this, where the dense count is one; heads are whole numbers.
    Raises:
        PlanError: the target is larger than the model, or out of reach.
    """

    def __init__(
        self,
        cost: Cost,
        groups: Groups,
        target: int,
        constraints: Constraints | None = None,
        *,
        min_keep: float = MIN_KEEP,
        round_to: int = 1,
    ) -> None:
        self.cost, self.groups, self.target, self.min_keep = cost, groups, target, min_keep
        self.choices = choices_of(cost, groups, constraints or Constraints(), min_keep, round_to)
        self.dense = {name: groups[name].size for choice in self.choices for names in choice.names for name in names}
        self.total = cost.count({})
        self.aim: Counts = {}  # widths at the target, as last chosen
        self._check(target, cost.noun)

    def _check(self, target: int, noun: str) -> None:
        if target > self.total:
            raise PlanError(
                f"the target of {target:,} {noun} is larger than the model",
                cause=f"it has {self.total:,}",
                remedy=f"choose a target below {self.total:,}",
            )
        least = self.cost.count(self._counts(self.choices, [len(choice.counts) - 1 for choice in self.choices]))
        if target < least:
            raise PlanError(
                f"the target of {target:,} {noun} is out of reach",
                cause=f"with {self.min_keep:.0%} of every group kept, {least:,} are left",
                remedy=f"choose a target of at least {least:,}, or a lower floor (min_keep)",
            )

    def counts(
        self,
        scores: UnitScores,
        left: float = 0.0,
        at_most: Mapping[str, int] | None = None,
        *,
        stay: bool = False,
    ) -> Counts:
        """Return how many units each group keeps, never more than it has now.

        On the way the scores of the moment choose the widths at the target, and every group goes as much of the way
        there as the budget of the moment asks for: so the target can still be met to a unit when it is reached.

        Args:
            scores: of the units of now, (units,) or (outer units, units), higher = keep.
            left: what is left of the way from the dense cost to the target.
            at_most: units of groups that have more now, but not for long.
            stay: the model is looked at here, so its class must be able to express the widths.
        Raises:
            ScoreError: all units score the same.
        """
        check_scores({name: scores[name] for name in self.dense if name in scores})
        now = {name: min(self.groups[name].size, (at_most or {}).get(name, size)) for name, size in self.dense.items()}
        bound = self.target + round((self.total - self.target) * left)
        if stay and left:
            return self._best(scores, bound, now)
        best = self._best(scores, self.target, now)
        kept = all(self.aim[name] <= now[name] for name in self.aim)
        if not self.aim or not kept or self._is_near(best, self.target) or not self._is_near(self.aim, self.target):
            self.aim = best
        return self._towards(self.aim, bound, now)

    def _towards(self, aim: Counts, bound: int, now: Counts) -> Counts:
        """Return the widths nearest to `now`, on the way to `aim`, that cost at most `bound`."""

        def at(step: int) -> Counts:
            return {name: n + (now[name] - n) * step // _STEPS for name, n in aim.items()}

        low, high = 0, _STEPS
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.cost.count(at(middle)) <= bound else (low, middle - 1)
        return at(low)

    def _best(self, scores: UnitScores, target: int, now: Counts) -> Counts:
        choices = [narrower(choice, now) for choice in self.choices]
        losses = [losses_of(choice, scores) for choice in choices]
        found = self._solved(choices, losses, target)
        if not self._is_near(found[1], target):
            found = self._exchanged(choices, losses, found, target)
        return found[1]

    def _is_near(self, counts: Counts, target: int) -> bool:
        return self.cost.count(counts) >= (1 - TOLERANCE) * target

    def _solved(
        self, choices: Sequence[Choice], losses: Sequence[np.ndarray], target: int, *, full: bool = False
    ) -> tuple[float, Counts]:
        """Return the score lost, and the counts that lose it: at the lowest price at which the model fits.

        With `full` the budget is spent, even on widths that keep less score.
        """
        chosen = [len(choice.counts) - 1 for choice in choices]
        unit = sum(float(loss.max()) for loss in losses) / max(self.total, 1) or 1.0
        low, high = -_RANGE, _RANGE  # log2 of the price, relative to the mean score per cost
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            found = self._chosen(choices, losses, unit * 2.0**middle)
            if self.cost.count(self._counts(choices, found)) <= target:
                chosen, high = found, middle
            else:
                low = middle
        chosen = self._widened(choices, losses, chosen, target, full=full)
        lost = sum(float(loss[i]) for loss, i in zip(losses, chosen, strict=True))
        return lost, self._counts(choices, chosen)

    def _exchanged(
        self, choices: Sequence[Choice], losses: Sequence[np.ndarray], found: tuple[float, Counts], target: int
    ) -> tuple[float, Counts]:
        """Where widths are far apart: take a wider one of some component, and let the others pay for it."""
        every = [found, self._solved(choices, losses, target, full=True)]
        for i, choice in enumerate(choices):
            costs = costs_of(choice, found[1])
            wider = costs > float(choice.cost.count(found[1]))
            if wider.any():
                part = replace(choice, counts=choice.counts[wider])
                others = [*choices[:i], part, *choices[i + 1 :]]
                lost, counts = self._solved(others, [*losses[:i], losses[i][wider], *losses[i + 1 :]], target)
                if self.cost.count(counts) <= target:
                    every.append((lost, counts))
        near = [each for each in every if self._is_near(each[1], target)]
        return min(near, key=lambda each: each[0]) if near else max(every, key=lambda each: self.cost.count(each[1]))

    def _chosen(self, choices: Sequence[Choice], losses: Sequence[np.ndarray], price: float) -> list[int]:
        """Let every component take its best option at a price, in turn, from the widest on."""
        chosen = [0] * len(choices)
        counts = self._counts(choices, chosen)
        for _ in range(_TURNS):
            before = list(chosen)
            for i, (choice, loss) in enumerate(zip(choices, losses, strict=True)):
                chosen[i] = int(np.argmin(loss + price * costs_of(choice, counts)))
                counts |= choice.at(chosen[i])
            if chosen == before:
                break
        return chosen

    def _widened(
        self, choices: Sequence[Choice], losses: Sequence[np.ndarray], chosen: list[int], target: int, *, full: bool
    ) -> list[int]:
        """Spend what is left of the budget: the most score per cost first, while something fits."""
        for _ in range(_WIDENINGS):
            counts = self._counts(choices, chosen)
            slack = target - self.cost.count(counts)
            best: tuple[float, int, int] | None = None
            for i, (choice, loss) in enumerate(zip(choices, losses, strict=True)):
                costs = costs_of(choice, counts)
                more, gain = costs - costs[chosen[i]], loss[chosen[i]] - loss
                fits = np.flatnonzero((more > 0) & (more <= slack) & (full | (gain >= 0)))
                if len(fits):
                    option = int(fits[np.argmax(gain[fits] / more[fits])])
                    value = (float(gain[option] / more[option]), i, option)
                    best = value if best is None or value[0] > best[0] else best
            if best is None:
                break
            chosen = [best[2] if i == best[1] else option for i, option in enumerate(chosen)]
        return chosen

    @staticmethod
    def _counts(choices: Sequence[Choice], chosen: Iterable[int]) -> Counts:
        return {name: n for choice, i in zip(choices, chosen, strict=True) for name, n in choice.at(i).items()}
