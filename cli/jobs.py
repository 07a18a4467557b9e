"""The two jobs that fill an output folder: check what is cheap, load, work, write, report."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fxprune.api import analyse, capture, prune
from fxprune.cli import render
from fxprune.cli.cuts import Cut
from fxprune.cli.errors import process_index
from fxprune.cli.foresight import foresee, say
from fxprune.cli.graphs import open_model
from fxprune.cli.lazy import command_line
from fxprune.cli.metrics import Metrics
from fxprune.cli.results import flop_facts, flop_rows, loss_rows, report, size_rows
from fxprune.cli.snapshots import Family
from fxprune.deploy.environment import run_facts
from fxprune.deploy.outputs import LatencySettings, check_output, write_outputs
from fxprune.distillation.calibration import calibration_inputs
from fxprune.distillation.columns import check_dataset
from fxprune.distillation.config import DistillConfig
from fxprune.distillation.data import DEFAULT_DATASET
from fxprune.distillation.device import choose_device
from fxprune.distillation.objective import find_objective, free_places
from fxprune.distillation.ranks import Ranks
from fxprune.distillation.report import Snapshot, StepReport
from fxprune.distillation.rescue import UnfinishedError
from fxprune.distillation.run import StartReport, distill
from fxprune.distillation.settling import with_segments
from fxprune.distillation.waypoints import folder_name
from fxprune.errors import DataError
from fxprune.forecast import flops_of
from fxprune.groups import feature_outputs
from fxprune.hub import offline
from fxprune.plan import Plan
from fxprune.preprocessors import load_preprocessor
from fxprune.report.lineage import data_facts, teacher_facts
from fxprune.sources import example_inputs, load_model
from fxprune.traced import Traced


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where results go.

    Attributes:
        folder: of all results.
        overwrite: whether it may hold those of an earlier run.
        latency: where teacher and student are timed; None: not at all.
        as_json: whether the result is printed for machines.
        int8: whether to write and time an int8 file too.
    """

    folder: Path
    overwrite: bool
    latency: LatencySettings | None
    as_json: bool
    int8: bool = False


def distill_job(
    model: str, dataset: str | None, config: DistillConfig, columns: tuple[str | None, str | None], to: Target
) -> None:
    """Distil, write everything, and print the comparison; of several processes, the first one does.

    Args:
        model: what is distilled.
        dataset: on what.
        config: settings.
        columns: of text and of targets.
        to: where results go.
    """
    text_column, target_column = columns
    if process_index() == 0:
        check_output(to.folder, to.overwrite, source=model)
    else:
        render.hush()
    device = choose_device(config.device)
    dataset = dataset or _default_dataset()
    check_dataset(dataset, text_column, target_column)
    planned = foresee(model, config.goal, partial(_free_of_student, wanted=config.objective), loadable=config.loadable)
    if planned is not None:
        say(planned)
    render.say(f"loading {model}")
    source = load_model(model)
    tokenizer = load_preprocessor(source)
    examples = example_inputs(source.model, tokenizer)
    examples = with_segments(examples, source.model, tokenizer, dataset, text_column)
    job = {**_made_by("distill", model, dataset), "settings": asdict(config)}
    family = Family(to.folder, tokenizer, to.latency, job, int8=to.int8)
    ranks = Ranks.join(device, config.timeout)
    stopped: UnfinishedError | None = None
    with render.StepProgress(config.max_steps) as progress, Metrics(to.folder, job, ranks) as metrics:

        def on_start(start: StartReport) -> None:
            _say_start(start)
            family.begin(start)
            metrics.begin()

        def on_step(step: StepReport) -> None:
            metrics.write(step)
            progress.show(step.step, step.params, step.losses, step.tokens_per_second)

        try:
            result = distill(
                source.model,
                tokenizer,
                dataset,
                config,
                examples=examples,
                text_column=text_column,
                target_column=target_column,
                ranks=ranks,
                on_start=on_start,
                on_step=on_step,
                on_snapshot=family.write if ranks.main else _leave_it,
            )
        except UnfinishedError as error:
            stopped, result = error, error.result
    if not ranks.main:
        ranks.wait()
        return
    flops = flop_facts(result.teacher_flops, result.student_flops, config.length)
    facts = {
        **job,
        "params": {"teacher": result.teacher_params, "student": result.student_params},
        "flops": flops,
        "objective": result.objective,
        "losses": result.held_out,
        "notes": list(result.notes),
        "seconds": result.seconds,
        "snapshots": [str(to.folder / folder_name(size)) for size in config.snapshots],
        **({} if stopped is None else {"unfinished": stopped.to_data()}),
    }
    outputs = write_outputs(
        result.student,
        to.folder,
        tokenizer=tokenizer,
        teacher=capture(source.model, examples) if to.latency and stopped is None else None,
        latency=to.latency if stopped is None else None,
        int8=to.int8,
        files=metrics.files,
        facts=facts,
        on_stage=_say_stage,
    )
    if stopped is not None:
        render.say(f"the student as it was after step {stopped.weights_of} is in {to.folder}")
        ranks.wait()
        raise stopped
    family.finish(config.snapshots, outputs)
    if family.rows and not to.as_json:
        render.out().print(family.table())
    outputs = replace(outputs, failures={**outputs.failures, **family.failures})
    ranks.wait()
    rows = [*size_rows(result.teacher_params, result.student_params, outputs), *flop_rows(flops)]
    report(facts, outputs, [*rows, *loss_rows(result.objective, result.held_out)], as_json=to.as_json)


def prune_job(model: str, cut: Cut, to: Target) -> None:
    """Cut once, write everything, and print the comparison."""
    check_output(to.folder, to.overwrite, source=model)
    plan = Plan.load(cut.plan_file) if cut.plan_file else None
    planned = foresee(model, cut.goal, cut.free) if cut.goal else None
    if planned is not None:
        say(planned)
    render.say(f"loading {model}")
    given = open_model(model)
    torch.manual_seed(cut.seed)
    teacher = capture(given.model, given.examples)
    texts = cut.repair != "none"
    calibration = (
        calibration_inputs(teacher, given.tokenizer, cut.dataset, cut.repair_batches, cut.seed) if texts else ()
    )
    slim = prune(
        teacher,
        ratio=cut.ratio,
        target_params=cut.target_params,
        target_flops=cut.target_flops,
        plan=plan,
        length=cut.length,
        allocation=cut.allocation,
        min_keep=cut.min_keep,
        round_to=cut.round_to,
        importance=cut.importance,
        free_outputs=feature_outputs(teacher) if cut.free_outputs else None,
        verify=cut.verify,
        repair=cut.repair,
        calibration=calibration,
    )
    if calibration:
        render.say(str(slim.repairs))
    dense, left = teacher.num_parameters(), slim.num_parameters()
    settings = {**asdict(cut), "plan_file": cut.plan_file and str(cut.plan_file)}
    flops = flop_facts(
        flops_of(teacher, analyse(teacher), cut.length), flops_of(slim, slim.meta["groups"], cut.length), cut.length
    )
    facts = {
        **_made_by("prune", model, cut.dataset),
        "settings": settings,
        "params": {"teacher": dense, "student": left},
        "flops": flops,
    }
    outputs = write_outputs(
        slim,
        to.folder,
        tokenizer=given.tokenizer,
        teacher=teacher,
        latency=to.latency,
        int8=to.int8,
        facts=facts,
        on_stage=_say_stage,
    )
    report(facts, outputs, [*size_rows(dense, left, outputs), *flop_rows(flops)], as_json=to.as_json)


def _made_by(command: str, model: str, dataset: str | None) -> dict[str, Any]:
    """Return what a run is made of, for ``fxprune.json``."""
    named = {"command": command, "model": model, "dataset": dataset}
    return {**named, "teacher": teacher_facts(model), "data": data_facts(dataset), "run": run_facts(command_line())}


def _free_of_student(traced: Traced, tokenizer: Any, wanted: str) -> frozenset[int] | None:
    if tokenizer is None and any(node.target == "input_ids" for node in traced.graph.nodes):
        return None  # loading will say it
    return free_places(find_objective(traced, tokenizer, wanted), traced)


def _leave_it(snapshot: Snapshot) -> None:
    """The first process writes it."""


def _default_dataset() -> str:
    name = ":".join(DEFAULT_DATASET)
    if offline():
        raise DataError(
            f"the default data set {name} needs a network, and there is none",
            remedy="pass --dataset demo, or --dataset with local text files",
        )
    return name


def _say_start(start: StartReport) -> None:
    student = "by score" if start.student_params is None else f"{start.student_params:,}"
    render.say(f"{start.teacher_params:,} -> {student} parameters, objective: {start.objective}")
    for note in start.notes:
        render.say(note)


def _say_stage(stage: str) -> None:
    render.say(f"writing {stage}")
