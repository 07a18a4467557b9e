"""Groups that must stay dense if the result has to load as its class, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fxprune.axes import Axis, Concat, Factor, factors_of, resolve
from fxprune.groups import Groups

if TYPE_CHECKING:
    from fxprune.widths import Constraints


def locked_groups(groups: Groups, constraints: Constraints) -> dict[str, str]:
    """Return group -> why no config of the class narrows it.

    Besides what a group itself meets, it may be tied to an axis that stays: where the hidden states are the model's
    output, and so stay, the class leaves heads x dims no width but theirs.
    """
    locked = {group.name: why for group in groups.prunable if (why := constraints.locks(group))}
    locked |= _behind_numbers(groups, constraints.numbers)
    changed = True
    while changed:
        free = {group.factor for group in groups.prunable if group.name not in locked}
        tied = _tied_to_what_stays(groups, constraints, free)
        changed = bool(tied)
        locked |= tied
    return locked


def _behind_numbers(groups: Groups, numbers: frozenset[str]) -> dict[str, str]:
    """Return the groups on the last dimension of the nodes `numbers` names."""
    values = {node.name: axes[0] for node, axes in groups.inferred.axes.items() if node.name in numbers}
    factors = {factor: name for name, axes in values.items() for p in leaf_products(axes[-1]) for factor in p}
    return {
        group.name: f"no weight can absorb another number than the class computes from it at {factors[group.factor]}"
        for group in groups.prunable
        if group.factor in factors
    }


def _tied_to_what_stays(groups: Groups, constraints: Constraints, free: set[Factor]) -> dict[str, str]:
    """Return the free groups on axes that must shrink with an axis which cannot."""
    found: dict[str, str] = {}
    for ratio in constraints.ratios:
        axes = {(t, dim): groups.inferred.tensors[t][dim] for t, dim in sorted(ratio) if t in groups.inferred.tensors}
        stuck = next((name for name, axis in axes.items() if _is_stuck(axis, free)), None)
        if stuck is not None:
            why = f"the model class keeps it in proportion to {stuck[0]}[{stuck[1]}], which stays"
            held = (factor for axis in axes.values() for factor in factors_of(axis) if factor in free)
            found |= {groups.by_factor[factor].name: why for factor in held}
    return found


def _is_stuck(axis: Axis, free: set[Factor]) -> bool:
    """Tell whether some part of `axis` holds nothing that may be cut."""
    return any(product and not free.intersection(product) for product in leaf_products(axis))


def leaf_products(axis: Axis) -> Iterable[tuple[Factor, ...]]:
    """Return the factors of an axis; of a concat those of each part."""
    terms = resolve(axis)
    if all(isinstance(term, Factor) for term in terms):
        yield terms  # type: ignore[misc]
        return
    for term in terms:
        if isinstance(term, Concat):
            for part in term.parts:
                yield from leaf_products((*[t for t in terms if isinstance(t, Factor)], *part))
