"""Waypoints: sizes a student passes on its way to the target, each with widths its class can express.

The way to each is straight; at each the student is trained for a while before it goes on, and then looked at.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fxprune.allocation import parse_count, solve
from fxprune.errors import PlanError, UsageError
from fxprune.global_allocation import GlobalAllocation
from fxprune.schedule import counts_at
from fxprune.student import Student
from fxprune.widths import Constraints, Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Waypoint:
    """One size on the way.

    Attributes:
        name: as the user gave it, fit for a folder.
        counts: units each group has there.
        left: of the way to the target, from 1 (dense) to 0.
    """

    name: str
    counts: Mapping[str, int]
    left: float


def find_waypoints(
    sizes: Sequence[str | int],
    student: Student,
    final: Counts | GlobalAllocation,
    limits: Constraints,
    *,
    round_to: int = 1,
) -> tuple[Waypoint, ...]:
    """Solve the widths of each size, largest first; none is narrower anywhere than what follows.

    Args:
        sizes: parameters, as ``"30M"`` or ``"25%"``; the target itself may be among them.
        student: dense.
        final: units at the target, or what spreads a budget by scores: then the widths of a size are not known yet.
        limits: what the model class demands.
        round_to: widths are multiples of it.
    Raises:
        UsageError: two sizes are the same, or sizes are parameters and the budget FLOPs.
        PlanError: a size is not between the target and the dense model.
    """
    dense = student.budget.parameters({})
    targets = {folder_name(size): parse_count(size, dense) for size in sizes}
    if len(set(targets.values())) < len(sizes):
        raise UsageError(f"snapshots {', '.join(map(str, sizes))}: one is named twice", remedy="name each size once")
    if isinstance(final, GlobalAllocation):
        return _on_budget(targets, final)
    found: list[Waypoint] = []
    floor: Counts = final
    for name, target in sorted(targets.items(), key=lambda item: item[1]):
        _check_between(name, target, student.budget.parameters(final), dense)
        if target * 0.99 > student.budget.parameters(final):
            floor = solve(student.budget, student.groups, target, limits, floor=floor, round_to=round_to)
        found.append(Waypoint(name=name, counts=floor, left=_left(student, floor, final)))
    return tuple(reversed(found))


def _on_budget(targets: Mapping[str, int], spread: GlobalAllocation) -> tuple[Waypoint, ...]:
    """Place sizes on the way of a budget: scores choose their widths."""
    if targets and spread.cost.noun != "parameters":
        raise UsageError("snapshots are numbers of parameters, and the target is not", remedy="use target_params")
    for name, target in targets.items():
        _check_between(name, target, spread.target, spread.total)
    lefts = {name: (n - spread.target) / (spread.total - spread.target) for name, n in targets.items()}
    return tuple(
        Waypoint(name=name, counts={}, left=left) for name, left in sorted(lefts.items(), key=lambda item: -item[1])
    )


def folder_name(size: str | int) -> str:
    """Return a size as the name of a folder.

    >>> folder_name("25%"), folder_name("17.3M")
    ('25pct', '17.3M')
    """
    return re.sub(r"[\s,]", "", str(size)).replace("%", "pct")


def _check_between(name: str, target: int, final: int, dense: int) -> None:
    if not final <= target < dense:
        raise PlanError(
            f"the snapshot {name} of {target:,} parameters is not on the way",
            cause=f"the student goes from {dense:,} to {final:,}",
            remedy="name sizes between the two",
        )


def _left(student: Student, counts: Mapping[str, int], final: Mapping[str, int]) -> float:
    dense = {name: student.groups[name].size for name in final}
    shares = [(counts[name] - final[name]) / (dense[name] - final[name]) for name in final if dense[name] > final[name]]
    return statistics.fmean(shares) if shares else 0.0


class Way:
    """From dense to target through the waypoints.

    Args:
        dense: units of each group at the start.
        final: at the target.
        waypoints: largest first.
    """

    def __init__(self, dense: Counts, final: Counts, waypoints: Sequence[Waypoint] = ()) -> None:
        self.ahead = [point for point in waypoints if point.left > 0.0]
        self.stations: list[tuple[float, Mapping[str, int]]] = [(1.0, dense)]
        self.stations += [*((point.left, point.counts) for point in self.ahead), (0.0, final)]

    def stops(self, left: float) -> bool:
        """Tell whether the next waypoint is reached, or passed, where `left` of the way is left."""
        return bool(self.ahead) and left <= self.ahead[0].left

    def next_stop(self, left: float) -> Waypoint | None:
        """Return that waypoint, each only once."""
        return self.ahead.pop(0) if self.stops(left) else None

    def counts(self, left: float) -> dict[str, int]:
        """Return the units of each group where `left` of the way is left."""
        for (before, wide), (after, narrow) in self._legs():
            if left >= after:
                return counts_at((left - after) / (before - after), wide, narrow)
        return dict(self.stations[-1][1])

    def _legs(self) -> Iterator[tuple[tuple[float, Mapping[str, int]], tuple[float, Mapping[str, int]]]]:
        return ((a, b) for a, b in pairwise(self.stations) if a[0] > b[0])
