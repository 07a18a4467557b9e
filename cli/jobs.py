"""The jobs that fill an output folder: check what is cheap, load, work, write, report. Here: one cut."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from fxprune.api import analyse, prune
from fxprune.cli import render
from fxprune.cli.cuts import Cut
from fxprune.cli.foresight import foresee, say
from fxprune.cli.graphs import captured, open_model
from fxprune.cli.lazy import command_line
from fxprune.cli.results import flop_facts, flop_rows, report, size_rows
from fxprune.cli.timed import say_plan, say_result, timed_facts
from fxprune.deploy.environment import run_facts
from fxprune.deploy.grids import LatencySettings
from fxprune.deploy.output_folder import check_output
from fxprune.deploy.outputs import write_outputs
from fxprune.distillation.calibration import calibration_inputs
from fxprune.flops import length_counted
from fxprune.forecast import flops_of
from fxprune.groups import feature_outputs
from fxprune.occupied import Seat
from fxprune.plan import Plan
from fxprune.report.lineage import data_facts, teacher_facts


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


def prune_job(model: str, cut: Cut, to: Target) -> None:
    """Cut once, write everything, and print the comparison."""
    with Seat(to.folder) as seat:
        seat.check()
        check_output(to.folder, to.overwrite, source=model)
        _prune(model, cut, to, seat)


def _prune(model: str, cut: Cut, to: Target, seat: Seat) -> None:
    plan = Plan.load(cut.plan_file) if cut.plan_file else None
    planned = foresee(model, cut.goal, cut.free) if cut.goal else None
    if planned is not None:
        say(planned)
    render.say(f"loading {model}")
    given = open_model(model)
    torch.manual_seed(cut.seed)
    teacher = captured(given, cut.length)
    texts = cut.repair != "none"
    calibration = (
        calibration_inputs(teacher, given.tokenizer, cut.dataset, cut.repair_batches, cut.seed) if texts else ()
    )
    slim = prune(
        teacher,
        ratio=cut.ratio,
        target_params=cut.target_params,
        target_flops=cut.target_flops,
        target_latency=cut.target_latency,
        plan=plan,
        at=cut.at,
        optimise_for=cut.optimise_for,
        length=cut.length,
        allocation=cut.allocation,
        min_keep=cut.min_keep,
        round_to=cut.round_to,
        importance=cut.importance,
        free_outputs=feature_outputs(teacher) if cut.free_outputs else None,
        verify=cut.verify,
        repair=cut.repair,
        calibration=calibration,
        say=render.say,
    )
    say_plan(slim.meta.get("latency_plan"))
    if calibration:
        render.say(str(slim.repairs))
    dense, left = teacher.num_parameters(), slim.num_parameters()
    settings = {**asdict(cut), "plan_file": cut.plan_file and str(cut.plan_file)}
    flops = flop_facts(
        flops_of(teacher, analyse(teacher), cut.length),
        flops_of(slim, slim.meta["groups"], cut.length),
        length_counted(teacher, cut.length),
    )
    facts = {
        **made_by("prune", model, cut.dataset),
        "settings": settings,
        "params": {"teacher": dense, "student": left},
        "flops": flops,
        **timed_facts(slim),
    }
    take(seat)
    outputs = write_outputs(
        slim,
        to.folder,
        tokenizer=given.tokenizer,
        teacher=teacher,
        latency=to.latency,
        int8=to.int8 or (cut.goal is not None and cut.goal.of_int8),
        facts=facts,
        on_stage=say_stage,
    )
    facts |= timed_facts(slim, outputs)
    say_result(facts)
    report(facts, outputs, [*size_rows(dense, left, outputs), *flop_rows(flops)], as_json=to.as_json)


def made_by(command: str, model: str, dataset: str | None) -> dict[str, Any]:
    """Return what a run is made of, for ``fxprune.json``."""
    named = {"command": command, "model": model, "dataset": dataset}
    return {**named, "teacher": teacher_facts(model), "data": data_facts(dataset), "run": run_facts(command_line())}


def take(seat: Seat) -> None:
    """Hold the folder of a job."""
    seat.take()
    if seat.stale is not None:
        render.say(f"the lock of {seat.stale} is taken over: it does not run any more")
        seat.stale = None


def say_stage(stage: str) -> None:
    """Tell what is being written."""
    render.say(f"writing {stage}")
