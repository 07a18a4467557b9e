"""Homotopic distillation from beginning to end."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from accelerate.utils import set_seed
from torch import Tensor, nn

from fxprune import api
from fxprune.distillation.checkpoints.keeper import Keeper, Keeping
from fxprune.distillation.checkpoints.widths import check_widths
from fxprune.distillation.config import DistillConfig
from fxprune.distillation.course import Run
from fxprune.distillation.device import choose_device, move
from fxprune.distillation.discrepancy import Discrepancy
from fxprune.distillation.driver import Driver
from fxprune.distillation.feeding import feed
from fxprune.distillation.loop import Distiller
from fxprune.distillation.notes import StartReport, notes_on
from fxprune.distillation.objective import free_places
from fxprune.distillation.preflight import check_fits, check_float32, check_shares
from fxprune.distillation.ranks import Ranks
from fxprune.distillation.report import DistillResult, Snapshot, StepReport
from fxprune.distillation.settling import settle, with_segments
from fxprune.distillation.taps import find_taps
from fxprune.distillation.waypoints import find_waypoints
from fxprune.forecast import forecast
from fxprune.goal import Goal
from fxprune.planning import plan_latency
from fxprune.student import Student
from fxprune.traced import Traced
from fxprune.unread import unread_note
from fxprune.widths import Constraints

if TYPE_CHECKING:
    from fxprune.latency import LatencyPlan

_MEASURED = 2  # held-out batches the scales of the losses are measured on

__all__ = ["Run", "StartReport", "distill", "prepare"]


def distill(
    model: nn.Module,
    tokenizer: Any,
    dataset: str,
    config: DistillConfig,
    *,
    examples: Mapping[str, Tensor] | None = None,
    text_column: str | None = None,
    target_column: str | None = None,
    ranks: Ranks | None = None,
    on_start: Callable[[StartReport], None] | None = None,
    on_step: Callable[[StepReport], None] | None = None,
    on_snapshot: Callable[[Snapshot], None] | None = None,
    keeping: Keeping | None = None,
    stop: Callable[[], int | None] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> DistillResult:
    """Narrow a model step by step while it learns from its dense self.

    Args:
        model: a Hugging Face model of text or images, or any traceable module that takes token ids; copied, never
            changed.
        tokenizer: its tokenizer, or image processor (None: images are resized and scaled to -1..1).
        dataset: "demo", local files, or the name of a data set on the hub.
        config: settings.
        examples: inputs to capture the model with; drawn from its config by default.
        text_column: what goes in, where the data set has several columns; two with a comma between are a pair.
        target_column: labels, tags or the text to write.
        ranks: the processes of the run, where the caller has joined them already. All of them call this, with the
            same arguments; each step is one of all together, and each returns the same result.
        on_start: called once the target is known to be reachable, before the first step.
        on_step: called after each step.
        on_snapshot: called at each of `config.snapshots` on the way, once the student has rested there.
        keeping: where checkpoints go, and whether the run goes on from one: on the CPU, in one process, it ends bit for
            bit as it would have without a stop. None: nothing is kept.
        stop: asked after each step; returns the number of a signal to stop at, or None to go on.
        say: told what takes long before the first step, such as timing widths.
    Raises:
        UsageError, DataError, CaptureError, PlanError: before anything is trained.
        UnfinishedError: a loss or gradient stopped being a number; holds the result so far.
        DistillError: another process stopped, memory ran out, or a checkpoint cannot be written.
        StoppedError: asked to stop; a checkpoint is written.
        CheckpointError: the run cannot go on from the checkpoints there are.
        VerifyError: with ``verify``, a proof failed.
    Source:
        Liang et al. 2023, HomoDistil, arXiv:2302.09632.
    """
    run = prepare(
        model,
        tokenizer,
        dataset,
        config,
        examples=examples,
        text_column=text_column,
        target_column=target_column,
        ranks=ranks,
        say=say,
        widths=keeping.widths() if keeping is not None and config.goal.times else None,
    )
    keeper = None if keeping is None else Keeper(run, keeping)
    if keeper is not None:
        keeper.restore()
    if on_start is not None:
        on_start(replace(run.start, history=tuple(run.history)))
    if keeper is not None:
        keeper.take_over()
    Driver(run=run, keeper=keeper, on_step=on_step, on_snapshot=on_snapshot, stop=stop).to_the_end()
    return run.result()


def prepare(
    model: nn.Module,
    tokenizer: Any,
    dataset: str,
    config: DistillConfig,
    *,
    examples: Mapping[str, Tensor] | None = None,
    text_column: str | None = None,
    target_column: str | None = None,
    ranks: Ranks | None = None,
    edit_student: Callable[[Traced], None] | None = None,
    say: Callable[[str], None] = lambda text: None,
    widths: LatencyPlan | None = None,
) -> Run:
    """Do everything that comes before the first step; arguments and errors are those of `distill`.

    Args:
        edit_student: changes the copy of the teacher the student starts from, such as leaving out layers or drawing
            new weights; nodes that stay keep their names.
        widths: of a run that goes on, where they were chosen by latency.
    """
    check_float32(model)
    ranks = ranks or Ranks.join(choose_device(config.device), config.timeout)
    check_shares(config.batch_size, ranks.count)
    set_seed(config.seed, device_specific=config.dropout)  # without dropout, processes draw the same
    if examples is None:
        from fxprune.sources import example_inputs

        examples = with_segments(example_inputs(model, tokenizer), model, tokenizer, dataset, text_column)
    traced = api.capture(model, examples, length=config.length)
    if note := unread_note(model, traced):
        say(note)
    examples = traced.meta["origin"].example_kwargs
    objective, columns = settle(
        traced,
        getattr(model, "config", None),
        tokenizer,
        dataset,
        wanted=config.objective,
        text_column=text_column,
        target_column=target_column,
    )
    limits = api.constraints(model, traced) if config.loadable else Constraints()
    teacher = copy.deepcopy(traced).requires_grad_(False)
    if edit_student is not None:
        edit_student(traced)
    student = Student(traced, free_outputs=free_places(objective, traced))
    timed = _timed(student, config.goal, limits, ranks, say, widths)
    planned = forecast(traced, student.groups, config.goal, limits, timed)
    waypoints = find_waypoints(config.snapshots, student, planned.final, limits, round_to=config.round_to)
    held_out, batches = feed(dataset, tokenizer, objective, config, text_column, ranks, columns)
    check_fits(teacher, held_out[0])
    taps = find_taps(traced, student.groups, student.free_outputs)
    for graph in (teacher, traced):
        move(graph, ranks.device)
    start = StartReport(
        teacher_params=teacher.num_parameters(),
        teacher_flops=planned.dense_flops,
        student_params=planned.params,
        objective=objective.name,
        notes=(*notes_on(objective, student, taps, config, plain=columns is None), *planned.notes),
    )
    distiller = Distiller(
        teacher,
        student,
        taps,
        objective,
        planned.final,
        config,
        ranks,
        waypoints=waypoints,
        calibration=[next(batches).to(ranks.device) for _ in range(config.calibration_batches)],
        starts_equal=edit_student is None,
    )
    distiller.terms.measure(teacher, (part for b in held_out[:_MEASURED] for part in b.parts(config.micro_batch)))
    if config.evaluation_interval:
        distiller.watch = Discrepancy(distiller, held_out[0])
    return Run(distiller, batches, held_out, start, examples)


def _timed(
    student: Student,
    goal: Goal,
    limits: Constraints,
    ranks: Ranks,
    say: Callable[[str], None],
    known: LatencyPlan | None,
) -> LatencyPlan | None:
    """Let the first process time, with nothing beside it; it tells the others what it found."""
    if not goal.times:
        return None
    if known is not None:
        check_widths(known, student.groups)
        student.latency_plan = known
        return known
    found = plan_latency(student, goal, limits, say) if ranks.main else None
    ranks.wait()
    student.latency_plan = ranks.gather(found)[0]
    return student.latency_plan
