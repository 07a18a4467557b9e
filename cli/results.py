"""What the commands that write an output folder tell at their end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import click

from fxprune.cli import render
from fxprune.cli.errors import CHECK_FAILED
from fxprune.deploy.generation.stage import generation_facts
from fxprune.deploy.latency import LatencyRow
from fxprune.deploy.latency_text import to_table
from fxprune.deploy.onnx_facts import export_facts
from fxprune.deploy.outputs import Outputs
from fxprune.wording import megabytes, shape_name, short

Row = tuple[str, str, str, str]  # quantity, teacher, student, ratio


def report(facts: Mapping[str, Any], outputs: Outputs, rows: Iterable[Row], *, as_json: bool) -> None:
    """Print the result; a form that was not written is named, and the exit code is 1."""
    if as_json:
        click.echo(json.dumps({**facts, **written(outputs)}, indent=2))
    else:
        if outputs.latency:
            render.out().print(to_table(list(outputs.latency)))
        render.out().print(render.comparison_table([*rows, *latency_rows(outputs.latency)]))
        render.tell(f"results in {outputs.folder}")
    for reason in outputs.left:
        render.tell(reason, err=True)
    for lost in outputs.lost_fusions:
        render.tell(f"a fusion is lost: {lost}", err=True)
    for stage, reason in outputs.failures.items():
        render.tell(f"{stage}: not written: {reason}", err=True)
    if outputs.failures:
        raise SystemExit(CHECK_FAILED)


def written(outputs: Outputs) -> dict[str, Any]:
    """Return what was written, for machines."""
    onnx, hf = outputs.onnx, outputs.hf
    made = outputs.generation
    return {
        "output": str(outputs.folder),
        "files": [str(path) for path in outputs.files],
        "failures": dict(outputs.failures),
        "onnx": onnx and export_facts(onnx),
        "lost_fusions": list(outputs.lost_fusions),
        "generation": made and generation_facts(made),
        "hugging_face": hf and {"model_class": hf.model_class, "max_error": hf.max_error, "proved": hf.proved},
        "latency": [row.to_data() for row in outputs.latency],
    }


def size_rows(teacher: int, student: int, outputs: Outputs) -> list[Row]:
    """Return parameters and file sizes."""
    rows = [("parameters", f"{teacher:,}", f"{student:,}", f"{teacher / student:.2f}x smaller")]
    sizes = outputs.onnx_bytes
    if "student" in sizes:
        dense = sizes.get("teacher")
        ratio = f"{dense / sizes['student']:.2f}x smaller" if dense else ""
        rows.append(("ONNX file", megabytes(dense), megabytes(sizes["student"]), ratio))
        if "int8" in sizes:
            ratio = f"{dense / sizes['int8']:.2f}x smaller" if dense else ""
            rows.append(("int8 ONNX file", "", megabytes(sizes["int8"]), ratio))
    for name, graph in outputs.generation.graphs.items() if outputs.generation else ():
        size = sum(file.stat().st_size for file in graph.files)
        rows.append((f"onnx/{name}", "", megabytes(size), "generates: with a cache"))
    return rows


def flop_facts(teacher: int | None, student: int | None, length: int | None) -> dict[str, Any]:
    """Return the FLOPs of both models, and what they were counted at; `length` as `length_counted` returns it."""
    return {"teacher": teacher, "student": student, "batch": 1, "length": length}


def flop_rows(facts: Mapping[str, Any]) -> list[Row]:
    """Return the FLOPs of both models; nothing where they depend on data."""
    teacher, student = facts["teacher"], facts["student"]
    if not teacher or not student:
        return []
    title = f"FLOPs at {shape_name(facts['batch'], facts['length'])}"
    return [(title, short(teacher), short(student), f"{teacher / student:.2f}x fewer")]


def loss_rows(objective: str, held_out: Mapping[str, Mapping[str, float]]) -> list[Row]:
    """Return the losses on held-out text; the transfer terms of the teacher are zero by definition."""
    before, rows = held_out["teacher"], []
    for name, value in held_out["student"].items():
        title = {"task": f"{objective} loss, held out", "accuracy": "accuracy, held out"}.get(
            name, f"{name} term, held out"
        )
        rows.append((title, f"{before.get(name, 0.0):.3f}", f"{value:.3f}", f"{value - before.get(name, 0.0):+.3f}"))
    return rows


def latency_rows(rows: Iterable[LatencyRow]) -> list[Row]:
    """Return the medians of both models at each shape, and of the int8 file of the student."""
    cells: dict[tuple[int, int | None, int], dict[str, LatencyRow]] = {}
    for row in rows:
        cells.setdefault((row.batch, row.length, row.threads), {})[row.model] = row
    found = []
    for (batch, length, threads), models in cells.items():
        title = f"{shape_name(batch, length)}, {threads} thread{'s' if threads > 1 else ''}, p50"
        dense = models.get("teacher")
        for name, kind in (("student", "latency"), ("student int8", "int8 latency")):
            if (slim := models.get(name)) is not None:
                ratio = f"{dense.p50_ms / slim.p50_ms:.2f}x faster" if dense else ""
                found.append(
                    (f"{kind} {title}", f"{dense.p50_ms:.2f} ms" if dense else "", f"{slim.p50_ms:.2f} ms", ratio)
                )
    return found
