"""Scores of units: a score per weight, summed over all the slices the unit has in all its tensors.

A smoothed score that is linear in the weights' scores can be smoothed unit by unit: the state is as small as the number
of units, not of weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.fx import GraphModule

from fxprune.axes import Axis, Factor, resolve, units_of
from fxprune.errors import ScoreError
from fxprune.groups import Groups
from fxprune.importance import WeightScore
from fxprune.traced import tensor_of
from fxprune.units import positions

UnitScores: TypeAlias = dict[str, Tensor]  # group -> (units,), or (outer units, units) where the group may be ragged
BLOCK = 1 << 20  # weights scored at a time


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the units of one group lie on one axis of one tensor."""

    dim: int
    group: str
    units: Tensor  # flat index into the group's scores, for each position that has one
    at: Tensor | None  # those positions; None if all
    total: int


class UnitScorer:
    """Sums scores of weights to scores of units.

    Args:
        groups: those to score are the prunable ones; a ragged one is scored under each outer unit.
        per_matrix: divide the scores of each tensor by their sum, so that every matrix has the same say, and not
            those most whose gradients happen to be large.
    """

    def __init__(self, groups: Groups, *, per_matrix: bool = False) -> None:
        self.groups, self.per_matrix = groups, per_matrix
        self._places = self._find_places()

    def __call__(self, traced: GraphModule, score: WeightScore) -> UnitScores:
        """Return the scores of all prunable groups, of the weights and gradients as they are now."""
        self._refresh()
        totals = {group.name: torch.zeros(self._total(group.name)) for group in self.groups.prunable}
        with torch.no_grad():
            for name, places in self._places.items():
                tensor = tensor_of(traced, name)
                if isinstance(tensor, torch.nn.Parameter):
                    grad = tensor.grad if tensor.grad is not None else _no_gradient(tensor)
                    sums = _axis_sums(score, tensor, grad, {place.dim for place in places})
                    if self.per_matrix:
                        sums = {dim: found / found.sum().abs().clamp_min(1e-30) for dim, found in sums.items()}
                    for place in places:
                        found = sums[place.dim] if place.at is None else sums[place.dim][place.at]
                        totals[place.group].index_add_(0, place.units, found)
        return {name: self._shaped(name, total) for name, total in totals.items()}

    def _shaped(self, name: str, total: Tensor) -> Tensor:
        outer = self.groups.ragged.get(name)
        return total if outer is None else total.view(self.groups[outer].size, self.groups[name].size)

    def _total(self, name: str) -> int:
        outer = self.groups.ragged.get(name)
        return self.groups[name].size * (1 if outer is None else self.groups[outer].size)

    def _refresh(self) -> None:
        sizes = {place.group: place.total for places in self._places.values() for place in places}
        if any(self._total(name) != total for name, total in sizes.items()):
            self._places = self._find_places()

    def _find_places(self) -> dict[str, list[_Place]]:
        wanted = {group.factor: group.name for group in self.groups.prunable}
        known: dict[Axis, list[tuple[str, Tensor, Tensor | None]]] = {}
        places: dict[str, list[_Place]] = {}
        for name, axes in self.groups.inferred.tensors.items():
            for dim, axis in enumerate(axes):
                key = resolve(axis)
                if key not in known:
                    known[key] = self._on_axis(key, wanted)
                for group, units, at in known[key]:
                    places.setdefault(name, []).append(_Place(dim, group, units, at, self._total(group)))
        return places

    def _on_axis(self, axis: Axis, wanted: Mapping[Factor, str]) -> list[tuple[str, Tensor, Tensor | None]]:
        placed = positions(axis)
        found = []
        for factor, units in placed:
            if factor in wanted:
                name = wanted[factor]
                outer = self.groups.ragged.get(name)
                if outer is not None:
                    above = next(rows for other, rows in placed if other is self.groups[outer].factor)
                    units = torch.where(units < 0, units, above * units_of(factor) + units)
                at = None if bool((units >= 0).all()) else torch.nonzero(units >= 0)[:, 0]
                found.append((name, units if at is None else units[at], at))
        return found


def _axis_sums(score: WeightScore, weight: Tensor, grad: Tensor | None, dims: Iterable[int]) -> dict[int, Tensor]:
    """Score a weight and sum over all axes but one, for each of `dims`.

    Block by block of rows: a block's scores stay in cache, and a big table needs no copy of its size.
    """
    rows = max(1, BLOCK * len(weight) // max(weight.numel(), 1))
    parts: dict[int, list[Tensor]] = {dim: [] for dim in dims}
    for first in range(0, len(weight), rows):
        block = slice(first, first + rows)
        scores = score(weight[block], None if grad is None else grad[block]).float()
        for dim, found in parts.items():
            others = [other for other in range(scores.ndim) if other != dim]
            found.append(scores.sum(others) if others else scores)
    return {dim: (torch.cat(found) if dim == 0 else torch.stack(found).sum(0)).cpu() for dim, found in parts.items()}


def _no_gradient(tensor: Tensor) -> Tensor | None:
    """A weight the loss does not reach has no say, if it was asked at all."""
    return torch.zeros_like(tensor) if tensor.requires_grad else None


def random_units(groups: Groups) -> UnitScores:
    """Score the units at random, one draw a unit: no weight is read, so the model may be on the meta device."""
    sizes = {group.name: [group.size] for group in groups.prunable}
    for name, outer in groups.ragged.items():
        sizes[name].insert(0, groups[outer].size)
    return {name: torch.rand(size) for name, size in sizes.items()}


def check_scores(scores: UnitScores) -> None:
    """Refuse scores a plan cannot be made from.

    Raises:
        ScoreError: a score is not finite, or all units of every group score the same (a frozen copy of the teacher,
            or a student equal to it, has no gradient, and the cut would be arbitrary).
    """
    for name, score in scores.items():
        if not torch.isfinite(score).all():
            raise ScoreError(
                f"the scores of group {name!r} are not finite", remedy="lower the learning rate, or check the data"
            )
    if scores and all(float(score.max() - score.min()) == 0.0 for score in scores.values()):
        raise ScoreError(
            "all units score the same, so any cut would be arbitrary",
            cause="the gradient is zero: weights are frozen (requires_grad), or the student still equals its teacher",
            remedy="score with a loss that is not at its minimum (masked LM, dropout), or use 'magnitude'",
        )


def best_units(scores: UnitScores, counts: Mapping[str, int]) -> dict[str, Tensor]:
    """Return bool masks that keep the `counts` best units of each group; ties go to the lower index.

    Args:
        scores: (units,) or (outer units, units).
        counts: group -> how many stay (for each outer unit, if ragged).
    """
    check_scores({name: scores[name] for name in counts if name in scores})
    masks = {}
    for name, count in counts.items():
        score = scores[name]
        order = torch.sort(score, dim=-1, descending=True, stable=True).indices[..., :count]
        masks[name] = torch.zeros_like(score, dtype=torch.bool).scatter_(-1, order, True)
    return masks
