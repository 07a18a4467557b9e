"""Latency as the target: widths chosen by what they take on this machine.

space       the widths there are: families of equal layers, and the options of each
work        how much of what a model does at any widths, in classes
template    ONNX files of any widths, filled in rather than exported
table       what was timed, on disk
model       milliseconds from work, fitted to the table
search      the best widths a bound allows
planner     time, fit, search, and check on a real file
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fxprune.budget import Budget
from fxprune.deploy.bundle import origin_of
from fxprune.errors import DeployError, PlanError, UsageError
from fxprune.global_allocation import MIN_KEEP
from fxprune.goal import Goal
from fxprune.latency.files import Files
from fxprune.latency.plan import Bought, LatencyPlan
from fxprune.latency.planner import Planner
from fxprune.latency.space import Space
from fxprune.latency.stopwatch import Clock, FileStopwatch, runtime_clock
from fxprune.latency.table import Table
from fxprune.latency.work import Work
from fxprune.plan import fingerprint
from fxprune.student import Student
from fxprune.traced import Traced
from fxprune.widths import Constraints
from fxprune.workload import parse_ms

__all__ = ["Bought", "LatencyPlan", "plan_by_latency"]


def plan_by_latency(
    student: Student,
    goal: Goal,
    limits: Constraints,
    *,
    say: Callable[[str], None] = lambda text: None,
    folder: Path | None = None,
    clock: Clock | None = None,
) -> LatencyPlan:
    """Choose widths by what they take in ONNX Runtime on this machine.

    What is held: equal layers stay equal, every group keeps at least `goal.min_keep` of its units, the class's own
    demands hold, and no family of groups is more than twice as wide or narrow, relative to its dense width, as
    heads x dimensions and what is tied to them. Within that a target in milliseconds is met with as many parameters as
    possible, and a target in parameters or FLOPs (used up to 1 %) as fast as possible; of choices that are as good as
    the best to 2 % (of size) or 1 % (of time) the one that is nearest to the dense proportions is taken.

    Args:
        student: dense; it is only copied.
        goal: with a target latency, or for which latency is to be optimised.
        limits: what the model class demands, if the result must load as one.
        say: told what is done.
        folder: where latency tables are kept; None: the user's cache.
        clock: times ONNX files; None: ONNX Runtime does.
    Raises:
        UsageError: the model has no weights yet, or no such length.
        PlanError: the target is out of reach, or the model cannot be exported and so not timed.
        AnalysisError: what the model does depends on its data.
    """
    traced, workload = student.traced, goal.workload
    _check_weights(traced)
    _check_length(traced, workload.length)
    floor = MIN_KEEP if goal.min_keep is None else goal.min_keep
    space = Space.of(student.groups, limits, min_keep=floor, round_to=goal.round_to)
    if not space.families:
        raise PlanError("no width of this model can be cut", remedy="fxprune inspect says why")
    identity = _identity(student, space)
    table = Table.open(identity, workload, folder)
    files = Files(traced, space, student.free_outputs, say, identity, folder, workload.precision)
    watch = FileStopwatch(files, table, clock or runtime_clock(origin_of(traced).example_kwargs, workload))
    params = Budget.of(traced, student.groups)
    planner = Planner(space, Work.of(traced, space, workload), watch, workload, params, say)
    try:
        if goal.target_latency is not None:
            return planner.within(parse_ms(goal.target_latency))
        cost = goal.cost(traced, student.groups)
        uniform = goal.counts(traced, student.groups, limits)  # raises where the target is out of reach
        return planner.fastest(cost, goal.target(cost.count({})), uniform)
    except DeployError as error:
        raise PlanError(
            "the latency of this model cannot be measured",
            cause=error,
            remedy="give a target in parameters or FLOPs, without latency",
        ) from error


def _identity(student: Student, space: Space) -> str:
    """Tell models apart whose widths, written as numbers, mean other files."""
    kinds = " ".join(f"{kind.name}:{len(kind.groups)}" for kind in space.kinds)
    return f"{fingerprint(student.traced.state_dict())} {kinds} outputs {sorted(student.free_outputs)}"


def _check_weights(traced: Traced) -> None:
    if any(parameter.is_meta for parameter in traced.parameters()):
        raise UsageError("a latency is measured on a file with weights", remedy="load the model's weights first")


def _check_length(traced: Traced, length: int) -> None:
    from fxprune.deploy.outputs import within

    longest = within([(1, length)], traced)[0][1]
    if longest < length:
        raise UsageError(
            f"the model has no {length} positions",
            cause=f"it takes at most {longest}",
            remedy=f"time it at 1x{longest}",
        )
