"""Allocation: from a budget to the number of units each group keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from fxprune.budget import Budget, Cost, parse_count
from fxprune.errors import PlanError, UsageError
from fxprune.groups import Groups
from fxprune.locks import locked_groups
from fxprune.widths import Component, Constraints, Counts, above, components

__all__ = ["TOLERANCE", "Budget", "Cost", "parse_count", "solve", "uniform"]

TOLERANCE = 0.01  # the result is at most the target, and within 1 % of it


def uniform(
    groups: Groups,
    ratio: float,
    constraints: Constraints | None = None,
    *,
    thin_heads: bool = True,
    round_to: int = 1,
) -> Counts:
    """Keep the same fraction in every matrix axis: HomoDistil's allocation.

    Args:
        groups: dense.
        ratio: fraction of every axis that stays, in (0, 1].
        constraints: what the model class demands, if the result must load as one.
        thin_heads: in an axis of heads x dims, narrow the dims first; heads go too where that comes 1 % nearer.
        round_to: counts are multiples of this, where the dense count is one; heads are whole numbers.
    Returns:
        Group -> number of kept units.
    Raises:
        UsageError: `ratio` is not in (0, 1].
    """
    if not 0.0 < ratio <= 1.0:
        raise UsageError(f"the ratio {ratio} is not in (0, 1]", remedy="1.0 keeps everything, 0.5 half of every axis")
    limits = constraints or Constraints()
    parts = components(groups, limits, thin_heads=thin_heads, round_to=round_to)
    chosen = [part.options[part.at(ratio)] for part in parts]
    enough = ratio * (1 - TOLERANCE)
    if any(reached < enough for reached, _ in chosen):
        others = components(groups, limits, thin_heads=thin_heads, drop_heads=True, round_to=round_to)
        nearer = [part.options[part.at(ratio)] for part in others]
        chosen = [b if a[0] < enough and a[0] < b[0] <= ratio else a for a, b in zip(chosen, nearer, strict=True)]
    return {name: count for _, counts in chosen for name, count in counts.items()}


def solve(
    budget: Cost,
    groups: Groups,
    target: int,
    constraints: Constraints | None = None,
    *,
    thin_heads: bool = True,
    floor: Counts | None = None,
    round_to: int = 1,
) -> Counts:
    """Find the uniform allocation that costs at most `target`, and as near to it as whole units allow.

    Args:
        budget: of the dense model: its parameters or its FLOPs.
        groups: dense.
        target: number of these.
        constraints: what the model class demands, if the result must load as one.
        thin_heads: in an axis of heads x dims, narrow the dims first.
        floor: no group gets narrower than here.
        round_to: as for `uniform`.
    Raises:
        PlanError: the target is larger than the model, or smaller than the smallest reachable one (which is named).
    """
    dense = budget.count({})
    if target > dense:
        raise PlanError(
            f"the target of {target:,} {budget.noun} is larger than the model",
            cause=f"it has {dense:,}",
            remedy=f"choose a target below {dense:,}",
        )
    found: list[Counts] = []
    for drop_heads in (False, True):
        parts = components(
            groups, constraints or Constraints(), thin_heads=thin_heads, drop_heads=drop_heads, round_to=round_to
        )
        parts = above(parts, floor) if floor else parts
        _check_reachable(budget, groups, parts, target, constraints)
        chosen = _filled(budget, parts, _below(budget, parts, target), target)
        found.append(_counts(parts, chosen))
        if _is_near(budget, found[0], target):
            return found[0]  # one ratio for all, and all heads
        found += [_counts(parts, option) for option in _traded(budget, parts, chosen, target)]
    return _fairest(budget, found, target)


def _is_near(budget: Cost, counts: Counts, target: int) -> bool:
    return budget.count(counts) >= (1 - TOLERANCE) * target


def _fairest(budget: Cost, found: Sequence[Counts], target: int) -> Counts:
    """Of what comes near enough take the one whose narrowest axis is widest, else the largest.

    Nothing may all but vanish to make up for the rest: then it is better to miss the target.
    """
    fair = [counts for counts in found if budget.narrowest(counts) > budget.narrowest(found[0]) / 4]
    near = [counts for counts in fair if _is_near(budget, counts, target)]
    return max(near, key=budget.narrowest) if near else max(fair, key=budget.count)


def _check_reachable(
    budget: Cost, groups: Groups, parts: Sequence[Component], target: int, constraints: Constraints | None
) -> None:
    smallest = budget.count(_counts(parts, [len(part.options) - 1 for part in parts]))
    if target < smallest:
        raise PlanError(
            f"the target of {target:,} {budget.noun} is out of reach",
            cause=f"the smallest reachable size is {smallest:,}: {_what_stays(groups, constraints)}",
            remedy=f"choose a target of at least {smallest:,}",
        )


def _counts(parts: Sequence[Component], chosen: Iterable[int]) -> Counts:
    return {name: n for part, i in zip(parts, chosen, strict=True) for name, n in part.options[i][1].items()}


def _below(budget: Cost, parts: Sequence[Component], target: int, given: Mapping[int, int] | None = None) -> list[int]:
    """Return the widest common ratio that fits, by bisection over all ratios any option has.

    Where nothing fits beside the components whose option is `given`, the narrowest comes back.
    """

    def at(ratio: float) -> list[int]:
        return [(given or {}).get(i, part.at(ratio)) for i, part in enumerate(parts)]

    tables = {part.options.family: part.options.table for part in parts}
    ratios = sorted({ratio for table in tables.values() for ratio, _ in table})
    low, high = 0, len(ratios) - 1
    while low < high:
        middle = (low + high + 1) // 2
        fits = budget.count(_counts(parts, at(ratios[middle]))) <= target
        low, high = (middle, high) if fits else (low, middle - 1)
    return at(ratios[low])


def _traded(budget: Cost, parts: Sequence[Component], chosen: list[int], target: int) -> Iterator[list[int]]:
    """Where the next width of one component is too wide, take it all the same and narrow the others to pay for it."""
    for family in _families(parts):
        wider = {i: chosen[i] - 1 for i in family if chosen[i] > 0}
        found = _below(budget, parts, target, wider)
        if budget.count(_counts(parts, found)) <= target:
            yield _filled(budget, parts, found, target)


def _filled(budget: Cost, parts: Sequence[Component], chosen: list[int], target: int) -> list[int]:
    """Widen single components while the target allows it, the narrowest first; equal layers stay equal."""
    families = _families(parts)
    open_ = set(range(len(families)))
    while open_:
        index = min(open_, key=lambda f: parts[families[f][0]].options[chosen[families[f][0]]][0])
        wider = list(chosen)
        for i in families[index]:
            wider[i] = max(wider[i] - 1, 0)
        if wider != chosen and budget.count(_counts(parts, wider)) <= target:
            chosen = wider
        else:
            open_.discard(index)
    return chosen


def _families(parts: Sequence[Component]) -> list[list[int]]:
    """Components with the same options (the layers of a model) are widened together."""
    families: dict[object, list[int]] = {}
    for i, part in enumerate(parts):
        families.setdefault(part.options.family, []).append(i)
    return list(families.values())


def _what_stays(groups: Groups, constraints: Constraints | None) -> str:
    """Name the largest things that cannot be cut."""
    frozen = sorted((group for group in groups if group.frozen), key=lambda group: -group.size)[:2]
    reasons = [f"{group.name} ({group.size}): {group.frozen.reason}" for group in frozen if group.frozen]
    locked = list(locked_groups(groups, constraints or Constraints()).items())[:2]
    return "; ".join([*reasons, *[f"{name} ({groups[name].size}): {why}" for name, why in locked]])
