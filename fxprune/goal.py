"""The goal of a cut: how small, counted in what, and how that is spread over the groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch.fx import GraphModule

from fxprune.allocation import solve, uniform
from fxprune.budget import Budget, Cost, parse_count
from fxprune.errors import UsageError, check_one_of, unknown_name
from fxprune.flops import FlopBudget
from fxprune.global_allocation import MIN_KEEP, GlobalAllocation
from fxprune.groups import Groups
from fxprune.unit_scores import UnitScores
from fxprune.widths import COUNTED, Constraints, Counts
from fxprune.workload import Workload, parse_ms

Allocation = Literal["uniform", "global"]
Purpose = Literal["size", "latency"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """How small, or how fast, a model shall be; one of the first four.

    Attributes:
        ratio: fraction of every matrix axis that stays, in (0, 1].
        target_params: ``"15M"``, 14500000 or ``"25%"`` of the parameters.
        target_flops: the same of the FLOPs of all matrix products (2 a multiply-accumulate) at batch 1.
        target_latency: ``"4ms"``, or a number of milliseconds: the ONNX file of the result takes at most that.
        at: the shape it is timed at, as ``"8x128"``, ``"8x128,2"`` for two threads, or ``"8x128,int8"`` for its int8
            file; 1x128 by default.
        optimise_for: of all widths that meet a target in parameters or FLOPs: those nearest to one ratio (size), or the
            fastest at `at` (latency).
        length: tokens that FLOPs are counted at.
        allocation: uniform (the same ratio in every matrix) or global (least score per saved cost goes first).
        min_keep: of a global allocation, or where latency counts: fraction of every group that stays at least; None: a
            tenth.
        round_to: kept sizes are multiples of this where the dense size is one; heads stay whole numbers.
    """

    ratio: float | None = None
    target_params: int | str | None = None
    target_flops: int | str | None = None
    target_latency: str | float | None = None
    at: str | None = None
    optimise_for: Purpose = "size"
    length: int = 128
    allocation: Allocation = "uniform"
    min_keep: float | None = None
    round_to: int = 1

    def __post_init__(self) -> None:
        names = ("ratio", "target_params", "target_flops", "target_latency")
        check_one_of({name: getattr(self, name) for name in names}, 'target_params="25%"')
        if self.ratio is not None and not 0.0 < self.ratio <= 1.0:
            raise UsageError(f"the ratio {self.ratio} is not in (0, 1]", remedy="0.5 halves every axis")
        for target in (self.target_params, self.target_flops):
            if target is not None:
                parse_count(target, 1)
        self._check_latency()
        floored = self.times or self.allocation == "global"
        check_spread(self.allocation, self.min_keep, self.round_to, by_ratio=self.ratio is not None, floored=floored)

    def _check_latency(self) -> None:
        """Raise UsageError for a latency that cannot be meant."""
        if self.optimise_for not in get_args(Purpose):
            raise UsageError(unknown_name("purpose", self.optimise_for, get_args(Purpose)))
        if self.optimise_for == "latency" and self.ratio is not None:
            raise UsageError(
                "a ratio leaves no widths to choose from",
                remedy="give a target in parameters or FLOPs, of which the fastest widths are taken",
            )
        if self.at is not None and not self.times:
            raise UsageError(
                f"nothing is timed at {self.at}", remedy='add target_latency="4ms", or optimise_for="latency"'
            )
        if self.times and self.allocation == "global":
            raise UsageError(
                "widths that are chosen by latency are the same in equal layers, a global allocation's are not",
                remedy="leave out the allocation, or the latency",
            )
        if self.target_latency is not None:
            parse_ms(self.target_latency)
        _ = self.workload

    @property
    def times(self) -> bool:
        """Whether widths are chosen by what they take on this machine."""
        return self.target_latency is not None or self.optimise_for == "latency"

    @property
    def of_int8(self) -> bool:
        """Whether it is the int8 file that counts."""
        return self.workload.precision == "int8"

    @property
    def workload(self) -> Workload:
        """What is timed."""
        return Workload() if self.at is None else Workload.read(self.at)

    def cost(self, traced: GraphModule, groups: Groups) -> Cost:
        """Return what the target counts."""
        if self.target_flops is not None:
            return FlopBudget.of(traced, groups, length=self.length)
        return Budget.of(traced, groups)

    def target(self, dense: int) -> int:
        """Return the target as a number, of a model that costs `dense`."""
        given = self.target_params if self.target_flops is None else self.target_flops
        assert given is not None, "a ratio has no target"
        return parse_count(given, dense)

    def counts(
        self, traced: GraphModule, groups: Groups, limits: Constraints, scores: UnitScores | None = None
    ) -> Counts:
        """Return how many units each group keeps.

        Args:
            traced: dense.
            groups: of it.
            limits: what the model class demands, if the result must load as one.
            scores: of the units; a global allocation needs them.
        Raises:
            PlanError: the target is larger than the model, or out of reach.
        """
        check_rounding(groups, self.round_to)
        assert self.target_latency is None, "latencies are measured: see `fxprune.latency`"
        if self.ratio is not None:
            return uniform(groups, self.ratio, limits, round_to=self.round_to)
        if self.allocation == "global":
            assert scores is not None, "a global allocation ranks units"
            return self.spread(traced, groups, limits).counts(scores)
        cost = self.cost(traced, groups)
        return solve(cost, groups, self.target(cost.count({})), limits, round_to=self.round_to)

    def spread(self, traced: GraphModule, groups: Groups, limits: Constraints) -> GlobalAllocation:
        """Return what spreads a budget by scores, or raise PlanError if it cannot be met."""
        check_rounding(groups, self.round_to)
        cost, floor = self.cost(traced, groups), MIN_KEEP if self.min_keep is None else self.min_keep
        target = self.target(cost.count({}))
        return GlobalAllocation(cost, groups, target, limits, min_keep=floor, round_to=self.round_to)


def check_spread(allocation: str, min_keep: float | None, round_to: int, *, by_ratio: bool, floored: bool) -> None:
    """Raise UsageError for an allocation that cannot be meant."""
    if allocation not in get_args(Allocation):
        raise UsageError(unknown_name("allocation", allocation, get_args(Allocation)))
    if allocation == "global" and by_ratio:
        raise UsageError(
            "a ratio is the same in every matrix, a global allocation is not",
            remedy="give a target in parameters or FLOPs",
        )
    if min_keep is not None and not floored:
        raise UsageError(
            "min_keep is the floor of a global allocation, or of widths chosen by latency",
            remedy="leave it out, or use allocation global",
        )
    if min_keep is not None and not 0.0 <= min_keep <= 1.0:
        raise UsageError(f"min_keep is {min_keep}", remedy="use a fraction such as 0.1")
    if round_to < 1:
        raise UsageError(f"round_to is {round_to}", remedy="use a multiple such as 8; 1 leaves all sizes free")


def check_rounding(groups: Groups, round_to: int) -> None:
    """Raise UsageError if no group has a size that is a multiple of `round_to`."""
    sizes = {group.size: group.name for group in groups.prunable if group.role not in COUNTED}
    if round_to > 1 and not any(size % round_to == 0 for size in sizes):
        largest = max(sizes, default=0)
        why = f"the largest has {largest} units" if round_to > largest else "no size is a multiple of it now"
        raise UsageError(
            f"no group can be rounded to a multiple of {round_to}", cause=why, remedy="choose a smaller one"
        )
