"""The jobs behind the commands: check what is cheap, load, work, write, report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from fxprune import analyse, capture, prune
from fxprune.cli import render
from fxprune.cli.errors import CHECK_FAILED
from fxprune.deploy.latency import LatencyRow, latency_table, to_table
from fxprune.deploy.onnx import export_onnx
from fxprune.deploy.outputs import LatencySettings, Outputs, check_output, write_outputs
from fxprune.distillation.config import DistillConfig
from fxprune.distillation.data import DEFAULT_DATASET
from fxprune.distillation.device import choose_device
from fxprune.distillation.report import DistillResult, StepReport
from fxprune.distillation.run import StartReport, distill
from fxprune.errors import DataError
from fxprune.groups import feature_outputs
from fxprune.hub import offline
from fxprune.plan import Plan
from fxprune.sources import Source, example_inputs, load_model, load_tokenizer

Grid = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class LatencyRequest:
    """Where latency is to be measured."""

    grid: Grid
    threads: int

    @property
    def settings(self) -> LatencySettings:
        """As the bundle takes it."""
        return LatencySettings(grid=self.grid, threads=(self.threads,))


@dataclass(frozen=True, slots=True)
class Cut:
    """What `fxprune prune` is asked for."""

    target_params: str | None
    ratio: float | None
    plan_file: Path | None
    importance: str
    free_outputs: bool
    seed: int
    verify: bool


def distill_job(
    model: str,
    dataset: str | None,
    config: DistillConfig,
    output: Path,
    overwrite: bool,
    text_column: str | None,
    latency: LatencyRequest | None,
    *,
    as_json: bool,
) -> None:
    """Distil, write everything, and print the comparison."""
    check_output(output, overwrite, source=model)
    choose_device(config.device)
    dataset = _dataset(dataset)
    source = load_model(model)
    tokenizer = load_tokenizer(source)
    examples = example_inputs(source.model, tokenizer)
    with render.StepProgress(config.max_steps) as progress:

        def on_step(report: StepReport) -> None:
            progress.show(report.step, report.params, report.losses, report.tokens_per_second)

        result = distill(
            source.model,
            tokenizer,
            dataset,
            config,
            examples=examples,
            text_column=text_column,
            on_start=_say_start,
            on_step=on_step,
        )
    outputs = write_outputs(
        result.student,
        output,
        tokenizer=tokenizer,
        teacher=capture(source.model, examples) if latency else None,
        latency=latency.settings if latency else None,
        history=result.history,
        on_stage=_say_stage,
    )
    facts = {**_facts(source, outputs, result.teacher_params, result.student_params), "losses": result.held_out}
    facts |= {"objective": result.objective, "notes": list(result.notes), "seconds": result.seconds}
    _report(facts, outputs, _rows(facts, outputs, result), as_json=as_json)


def prune_job(
    model: str, cut: Cut, output: Path, overwrite: bool, latency: LatencyRequest | None, *, as_json: bool
) -> None:
    """Cut once, write everything, and print the comparison."""
    import torch

    check_output(output, overwrite, source=model)
    plan = Plan.load(cut.plan_file) if cut.plan_file else None
    source = load_model(model)
    examples = example_inputs(source.model, source.tokenizer)
    torch.manual_seed(cut.seed)
    teacher = capture(source.model, examples)
    slim = prune(
        source.model,
        examples,
        ratio=cut.ratio,
        target_params=cut.target_params,
        plan=plan,
        importance=cut.importance,
        free_outputs=feature_outputs(teacher) if cut.free_outputs else None,
        verify=cut.verify,
    )
    outputs = write_outputs(
        slim,
        output,
        tokenizer=source.tokenizer,
        teacher=teacher,
        latency=latency.settings if latency else None,
        on_stage=_say_stage,
    )
    facts = _facts(source, outputs, teacher.num_parameters(), slim.num_parameters())
    _report(facts, outputs, _rows(facts, outputs, None), as_json=as_json)


def bench_job(models: tuple[str, ...], grid: Grid, threads: tuple[int, ...], *, as_json: bool) -> None:
    """Export each model (parity is checked there), then measure them in turn."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        files: dict[str, Path] = {}
        examples: Mapping[str, Any] | None = None
        for place, name in enumerate(models):
            source = load_model(name)
            inputs = example_inputs(source.model, source.tokenizer)
            examples = inputs if examples is None else examples
            path = Path(folder) / f"{place}.onnx"
            export_onnx(capture(source.model, inputs), inputs, path)
            files[name] = path
        assert examples is not None
        rows = latency_table(files, examples, grid, threads)
    if as_json:
        click.echo(json.dumps(_latency(rows)))
    else:
        Console().print(to_table(rows))


def inspect_job(model: str, free_outputs: bool) -> tuple[Any, Any]:
    """Return the captured graph and its groups."""
    source = load_model(model)
    traced = capture(source.model, example_inputs(source.model, source.tokenizer))
    return traced, analyse(traced, free_outputs=feature_outputs(traced) if free_outputs else None)


def _dataset(dataset: str | None) -> str:
    if dataset is not None:
        return dataset
    name = ":".join(DEFAULT_DATASET)
    if offline():
        raise DataError(
            f"the default data set {name} needs a network, and there is none",
            remedy="pass --dataset demo, or --dataset with local text files",
        )
    return name


def _say_start(start: StartReport) -> None:
    text = f"{start.teacher_params:,} -> {start.student_params:,} parameters, objective: {start.objective}"
    for line in (text, *start.notes):
        render.ERR.print(line, highlight=False)


def _say_stage(stage: str) -> None:
    render.ERR.print(f"writing {stage}", highlight=False)


def _facts(source: Source, outputs: Outputs, teacher: int, student: int) -> dict[str, Any]:
    return {
        "model": source.name,
        "params": {"teacher": teacher, "student": student},
        "output": str(outputs.folder),
        "files": [str(path) for path in outputs.files],
        "failures": dict(outputs.failures),
        "onnx": None
        if outputs.onnx is None
        else {"opset": outputs.onnx.opset, "rung": outputs.onnx.rung, "max_error": outputs.onnx.max_error},
        "hugging_face": None
        if outputs.hf is None
        else {"model_class": outputs.hf.model_class, "max_error": outputs.hf.max_error},
        "latency": _latency(outputs.latency),
    }


def _latency(rows: tuple[LatencyRow, ...] | list[LatencyRow]) -> list[dict[str, Any]]:
    from dataclasses import asdict

    return [asdict(row) for row in rows]


def _rows(facts: Mapping[str, Any], outputs: Outputs, result: DistillResult | None) -> list[tuple[str, str, str, str]]:
    dense, slim = facts["params"]["teacher"], facts["params"]["student"]
    rows = [("parameters", f"{dense:,}", f"{slim:,}", f"{dense / slim:.2f}x smaller")]
    sizes = outputs.onnx_bytes
    if {"teacher", "student"} <= sizes.keys():
        ratio = f"{sizes['teacher'] / sizes['student']:.2f}x smaller"
        rows.append(("ONNX file", render.megabytes(sizes["teacher"]), render.megabytes(sizes["student"]), ratio))
    if result is not None:
        before, after = result.held_out["teacher"], result.held_out["student"]
        for name, value in after.items():
            title = f"{result.objective} loss, held out" if name == "task" else f"{name} term, held out"
            rows.append((title, f"{before[name]:.3f}" if name in before else "0", f"{value:.3f}", ""))
    return rows


def _report(facts: dict[str, Any], outputs: Outputs, rows: list[tuple[str, str, str, str]], *, as_json: bool) -> None:
    """Print the result; a stage that failed is named, and the exit code is 1."""
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        console = Console()
        console.print(render.comparison_table(rows))
        if outputs.latency:
            console.print(to_table(list(outputs.latency)))
        click.echo(f"results in {outputs.folder}")
    for stage, reason in outputs.failures.items():
        click.echo(f"{stage} was not written: {reason}", err=True)
    if outputs.failures:
        raise SystemExit(CHECK_FAILED)
