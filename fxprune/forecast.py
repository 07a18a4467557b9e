"""What a cut will come to, told from shapes alone: a model on the meta device has no weights to wait for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch.fx import GraphModule

from fxprune.allocation import TOLERANCE
from fxprune.budget import Budget
from fxprune.errors import AnalysisError
from fxprune.flops import FlopBudget, length_counted
from fxprune.global_allocation import GlobalAllocation
from fxprune.goal import Goal
from fxprune.groups import Groups
from fxprune.widths import Constraints, Counts

if TYPE_CHECKING:
    from fxprune.latency import LatencyPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Sizes before and after a cut.

    Attributes:
        dense_params, dense_flops: of the model; FLOPs at batch 1 and `length`, None where they depend on data.
        params, flops: of what is left, or at most; None where scores decide that are not known yet.
        length: tokens that FLOPs are counted at; None if the model has no free length.
        widths: group -> (units, units that stay), of those that shrink; empty where scores decide.
        final: units that stay, or what spreads the budget once there are scores.
        notes: a target that is not met to 1 %.
    """

    dense_params: int
    params: int | None
    dense_flops: int | None
    flops: int | None
    length: int | None
    widths: Mapping[str, tuple[int, int]]
    final: Counts | GlobalAllocation = field(repr=False)
    notes: tuple[str, ...] = ()


def forecast(
    traced: GraphModule, groups: Groups, goal: Goal, limits: Constraints, timed: LatencyPlan | None = None
) -> Forecast:
    """Plan without scores or weights.

    Args:
        traced: dense; may be on the meta device.
        groups: of it.
        goal: what is asked for.
        limits: what the model class demands, if the result must load as one.
        timed: the widths, where a goal by latency has found them already.
    Raises:
        PlanError: the target is larger than the model, or out of reach.
    """
    params, flops = Budget.of(traced, groups), _flops(traced, groups, goal.length)
    dense = {"dense_params": params.count({}), "dense_flops": None if flops is None else flops.flops()}
    length = length_counted(traced, goal.length)
    if goal.allocation == "global":
        spread = goal.spread(traced, groups, limits)
        bound = {"params": None, "flops": None, ("params" if goal.target_flops is None else "flops"): spread.target}
        return Forecast(**dense, **bound, length=length, widths={}, final=spread)  # type: ignore[arg-type]
    counts = goal.counts(traced, groups, limits) if timed is None else timed.counts
    return Forecast(
        **dense,  # type: ignore[arg-type]
        params=params.count(counts),
        flops=None if flops is None else flops.flops(counts),
        length=length,
        widths={name: (groups[name].size, n) for name, n in counts.items() if n < groups[name].size},
        final=counts,
        notes=(*_missed(goal, traced, groups, counts), *(timed.notes() if timed is not None else ())),
    )


def flops_of(traced: GraphModule, groups: Groups, length: int) -> int | None:
    """Return the FLOPs of a model as it is now, at batch 1; None where they depend on data."""
    budget = _flops(traced, groups, length)
    return None if budget is None else budget.flops()


def _flops(traced: GraphModule, groups: Groups, length: int) -> FlopBudget | None:
    try:
        return FlopBudget.of(traced, groups, length=length)
    except AnalysisError:
        return None


def _missed(goal: Goal, traced: GraphModule, groups: Groups, counts: Counts) -> tuple[str, ...]:
    if goal.ratio is not None or goal.target_latency is not None:
        return ()
    cost = goal.cost(traced, groups)
    target, found = goal.target(cost.count({})), cost.count(counts)
    if found >= (1 - TOLERANCE) * target:
        return ()
    return (f"{found / target:.1%} of the {target:,} {cost.noun} asked for: no allowed widths come nearer",)
