"""The job of ``fxprune distill``: check, load, train, write, report; from the start, or on from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from fxprune.api import capture
from fxprune.cli import render
from fxprune.cli.errors import process_index
from fxprune.cli.foresight import foresee, say
from fxprune.cli.jobs import made_by, say_stage, take
from fxprune.cli.metrics import Metrics
from fxprune.cli.results import flop_facts, flop_rows, loss_rows, report, size_rows
from fxprune.cli.signals import Halted, Signals
from fxprune.cli.snapshots import Family
from fxprune.cli.timed import say_cuts, say_result, timed_facts
from fxprune.deploy.grids import LatencySettings
from fxprune.deploy.output_folder import check_output
from fxprune.deploy.outputs import write_outputs
from fxprune.distillation.checkpoints.keeper import FOLDER, ORDER, Keeping, writing
from fxprune.distillation.checkpoints.order import Order
from fxprune.distillation.checkpoints.storage import found_in, step_of
from fxprune.distillation.columns import check_dataset
from fxprune.distillation.data import default_dataset
from fxprune.distillation.device import choose_device
from fxprune.distillation.objective import find_objective, free_places
from fxprune.distillation.ranks import Ranks
from fxprune.distillation.report import DistillResult, Snapshot, StepReport
from fxprune.distillation.rescue import UnfinishedError
from fxprune.distillation.run import StartReport, distill
from fxprune.distillation.settling import with_segments
from fxprune.distillation.waypoints import folder_name
from fxprune.flops import length_counted
from fxprune.occupied import Seat
from fxprune.preprocessors import load_preprocessor
from fxprune.sources import Source, example_inputs, load_model
from fxprune.traced import Traced


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is asked for.

    Attributes:
        order: what a run is told, and goes on with later.
        folder: of all results.
        overwrite: whether it may hold those of an earlier run.
        as_json: whether the result is printed for machines.
        resume: whether the run in `folder` goes on.
    """

    order: Order
    folder: Path
    overwrite: bool
    as_json: bool
    resume: bool = False

    @property
    def latency(self) -> LatencySettings | None:
        """Where teacher and student are timed; None: not at all."""
        return LatencySettings(grid=self.order.grid, threads=self.order.threads) if self.order.latency else None

    @property
    def keeping(self) -> Keeping:
        """How the run is kept."""
        return Keeping(
            folder=self.folder,
            every=self.order.checkpoint_every,
            last=self.order.keep_checkpoints,
            resume=self.resume,
            order=self.order.from_everywhere().to_data(),
            warn=render.say,
        )


def distill_job(job: Job) -> None:
    """Distil, write everything, and print the comparison; of several processes, the first one does."""
    folder, main = job.folder, process_index() == 0
    with Seat(folder) as seat, Signals() as signals:
        if not main:
            render.hush()
        elif job.resume:
            take(seat)
        else:
            seat.check()
            check_output(folder, job.overwrite, source=job.order.model)
        try:
            _Distilling(job, signals, seat).run()
        except Halted:
            if main and (folder / FOLDER / ORDER).is_file():
                render.say(f"go on with: fxprune distill --resume {folder}")
            raise


class _Distilling:
    """One job on its way: the model is loaded, the run is not begun."""

    def __init__(self, job: Job, signals: Signals, seat: Seat) -> None:
        self.signals, self.seat = signals, seat
        self.dataset = job.order.dataset or default_dataset()
        self.order = replace(job.order, dataset=self.dataset)
        self.job = replace(job, order=self.order)
        model, config = self.order.model, self.order.config
        device = choose_device(config.device)
        check_dataset(self.dataset, self.order.text_column, self.order.target_column)
        if not job.resume:
            free = partial(_free_of_student, wanted=config.objective)
            planned = foresee(model, config.goal, free, loadable=config.loadable)
            if planned is not None:
                say(planned)
        render.say(f"loading {model}")
        self.source: Source = load_model(model)
        self.tokenizer = load_preprocessor(self.source)
        examples = example_inputs(self.source.model, self.tokenizer)
        self.examples: Mapping[str, Tensor] = with_segments(
            examples, self.source.model, self.tokenizer, self.dataset, self.order.text_column
        )
        self.facts = {**made_by("distill", model, self.dataset), "settings": asdict(config)}
        self.family = Family(job.folder, self.tokenizer, job.latency, self.facts, int8=self.order.int8)
        self.ranks = Ranks.join(device, config.timeout)

    def run(self) -> None:
        """Train, and write what comes out."""
        stopped: UnfinishedError | None = None
        with (
            render.StepProgress(self.order.config.max_steps) as progress,
            Metrics(self.job.folder, self.facts, self.ranks) as metrics,
        ):
            try:
                result = self._train(progress, metrics)
            except UnfinishedError as error:
                stopped, result = error, error.result
        self.signals.end_of_training()
        if not self.ranks.main:
            self.ranks.wait()
            return
        with writing(self.job.folder, "the results"):
            self._write(result, metrics, stopped)

    def _train(self, progress: render.StepProgress, metrics: Metrics) -> DistillResult:
        order, folder = self.order, self.job.folder

        def on_start(start: StartReport) -> None:
            if self.ranks.main:
                take(self.seat)
            _say_start(start)
            self.family.begin(start)
            self.family.remember(order.config.snapshots, len(start.history))
            metrics.begin(start.history)
            progress.begin(len(start.history))
            self.signals.patient = True

        def on_step(step: StepReport) -> None:
            metrics.write(step)
            progress.show(step.step, step.params, step.losses, step.tokens_per_second)

        def on_snapshot(snapshot: Snapshot) -> None:
            if self.ranks.main:
                with writing(folder, f"the snapshot {snapshot.name}"):
                    self.family.write(snapshot)

        return distill(
            self.source.model,
            self.tokenizer,
            self.dataset,
            order.config,
            examples=self.examples,
            text_column=order.text_column,
            target_column=order.target_column,
            ranks=self.ranks,
            on_start=on_start,
            on_step=on_step,
            on_snapshot=on_snapshot,
            keeping=self.job.keeping,
            stop=self.signals,
            say=render.say,
        )

    def _write(self, result: DistillResult, metrics: Metrics, stopped: UnfinishedError | None) -> None:
        config, folder, family = self.order.config, self.job.folder, self.family
        latency = self.job.latency if stopped is None else None
        flops = flop_facts(result.teacher_flops, result.student_flops, length_counted(result.student, config.length))
        facts = {
            **self.facts,
            "params": {"teacher": result.teacher_params, "student": result.student_params},
            "flops": flops,
            "objective": result.objective,
            "losses": result.held_out,
            "notes": list(result.notes),
            "seconds": result.seconds,
            **timed_facts(result.student),
            "snapshots": [str(folder / folder_name(size)) for size in config.snapshots],
            **({} if stopped is None else {"unfinished": stopped.to_data()}),
        }
        outputs = write_outputs(
            result.student,
            folder,
            tokenizer=self.tokenizer,
            teacher=capture(self.source.model, self.examples, length=config.length) if latency else None,
            latency=latency,
            int8=self.order.int8,
            files=metrics.files,
            facts=facts,
            on_stage=say_stage,
        )
        if stopped is not None:
            render.say(f"the student as it was after step {stopped.weights_of} is in {folder}")
            if found := found_in(folder / FOLDER):
                last = f"the last checkpoint is that of step {step_of(found[0])}"
                render.say(f"{last}: fxprune distill --resume {folder} goes on from there")
            self.ranks.wait()
            raise stopped
        family.finish(config.snapshots, outputs, result.student)
        if family.rows and not self.job.as_json:
            render.out().print(family.table())
        outputs = replace(outputs, failures={**outputs.failures, **family.failures})
        self.ranks.wait()
        facts |= timed_facts(result.student, outputs)
        say_cuts(result.student.meta.get("latency_plan"))
        say_result(facts)
        rows = [*size_rows(result.teacher_params, result.student_params, outputs), *flop_rows(flops)]
        report(facts, outputs, [*rows, *loss_rows(result.objective, result.held_out)], as_json=self.job.as_json)


def _free_of_student(traced: Traced, tokenizer: Any, wanted: str) -> frozenset[int] | None:
    if tokenizer is None and any(node.target == "input_ids" for node in traced.graph.nodes):
        return None  # loading will say it
    return free_places(find_objective(traced, tokenizer, wanted), traced)


def _say_start(start: StartReport) -> None:
    student = "by score" if start.student_params is None else f"{start.student_params:,}"
    render.say(f"{start.teacher_params:,} -> {student} parameters, objective: {start.objective}")
    if start.history:
        render.say(f"going on after step {len(start.history)}")
    for note in start.notes:
        render.say(note)
