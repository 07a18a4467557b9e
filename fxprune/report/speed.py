"""Latency, and the ONNX graph behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fxprune.report.bars import Timing, draw_timings
from fxprune.report.cleaning import listed, mapping, number, text, whole
from fxprune.report.headline import medians, shapes
from fxprune.report.numbers import count, error, milliseconds
from fxprune.report.parts import Chart, Charts, Details, Items, Part, Prose, Section, Table
from fxprune.report.reading import Results

_LEGEND = (("teacher", "teacher"), ("student", "student"), ("line whisker", "from quartile to quartile"))
_COUNTS = {"batch", "length", "threads", "n", "warmup"}
_ALIKE = ("provider", "onnxruntime", "cpu", "fxprune")  # told once, above the table


def latency(results: Results) -> list[Section]:
    """Return the section of the measured latencies, or of why there are none."""
    by_shape = shapes(results.latency)
    if not by_shape:
        reason = results.part("failures").get("latency")
        said = f"It could not be measured: {text(reason)}" if reason else "It was not measured."
        return [Section(key="latency", title="Latency", parts=[Prose(text=said)])] if results.has_model else []
    charts = [_chart(shape, rows) for shape, rows in by_shape.items()]
    parts: list[Part] = [Prose(text=_measured_by(results.latency)), Charts(charts=charts, legend=_LEGEND)]
    parts.append(Details(summary="all numbers", parts=[_numbers(results.latency)]))
    return [Section(key="latency", title="Latency", parts=parts)]


def _chart(shape: str, rows: Sequence[Mapping[str, Any]]) -> Chart:
    ms = medians(list(rows))
    base = ms.get("teacher")
    timings = []
    for row in rows:
        model, p50 = text(row.get("model")), number(row.get("p50_ms")) or 0.0
        note = f", {base / p50:.2f}x" if base and p50 and model != "teacher" else ""
        quartiles = number(row.get("p25_ms")), number(row.get("p75_ms"))
        timings.append(Timing(model=model, p50=p50, p25=quartiles[0], p75=quartiles[1], note=note))
    said = ", ".join(f"{timing.model} {milliseconds(timing.p50)}" for timing in timings)
    return Chart(title=shape, drawing=draw_timings(f"latency at {shape}: {said}", timings))


def _measured_by(rows: Sequence[Mapping[str, Any]]) -> str:
    told = {name: ", ".join(dict.fromkeys(text(row[name]) for row in rows if row.get(name))) for name in _ALIKE}
    runtime = f"ONNX Runtime {told['onnxruntime']}".strip()
    return ", ".join(part for part in (f"Medians of {runtime}", told["provider"], told["cpu"]) if part) + (
        "; batch x length, models run in turn."
    )


def _numbers(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in _ALIKE]
    return Table(
        caption="Every row that was measured; times in milliseconds",
        columns=[name.replace("_ms", " ms").replace("_", " ") for name in columns],
        rows=[[_cell(name, row.get(name)) for name in columns] for row in rows],
    )


def _cell(name: str, value: Any) -> str:
    found = number(value)
    if found is None:
        return text(value)
    return count(found) if name in _COUNTS else f"{found:,.2f}"


def onnx_graph(results: Results) -> list[Section]:
    """Return the section of the ONNX file: how it was exported, and its fused ops beside the teacher's."""
    student, teacher = results.part("onnx"), results.part("onnx_teacher")
    if not student:
        return []
    parts: list[Part] = [Prose(text=_exported(student))]
    if rows := _fused(teacher, student):
        columns = ("", "teacher", "student")
        parts.append(Table(caption="Nodes and fused ops of the ONNX graphs", columns=columns, rows=rows))
    parts += [Prose(text=said)] if (said := _written(results.part("generation"))) else []
    if lost := listed(results.facts.get("lost_fusions")):
        parts += [Prose(text="Fusions that the cut lost:"), Items(rows=[text(item) for item in lost])]
    return [Section(key="onnx", title="ONNX graph", parts=parts)]


def _exported(student: Mapping[str, Any]) -> str:
    opset = f"opset {whole(student.get('opset')) or '?'}"
    words = [opset.capitalize()]
    words += [f"exported as: {rung}"] if (rung := text(student.get("rung"))) not in ("", opset) else []
    if (worst := number(student.get("max_error"))) is not None:
        words.append(f"largest error against PyTorch {error(worst)} of the largest value of an output")
    return ", ".join(words) + "."


def _written(found: Mapping[str, Any]) -> str:
    """Say how the student writes, or why it does not."""
    if reason := text(found.get("not_written")):
        return f"No graph with a key-value cache: {reason}."
    names = ", ".join(text(name) for name in listed(found.get("files")) if text(name).endswith(".onnx"))
    if not names:
        return ""
    worst, window = number(found.get("max_error")), whole(found.get("window"))
    told = [f"Writes with a key-value cache: {names}"]
    told += [] if worst is None else [f"largest error against PyTorch over all steps {error(worst)}"]
    told += [f"a window of {count(window)} tokens"] if window else []
    if (same := number(mapping(found.get("int8_agreement")).get("top1"))) is not None:
        told.append(f"in int8 too, where {same:.1%} of the likeliest tokens are the same")
    return ", ".join(told) + "."


def _fused(teacher: Mapping[str, Any], student: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return counts of both models: of nodes, then of each fused op."""
    both = (teacher, student)
    nodes = [count(number(facts.get("nodes"))) for facts in both]
    rows = [("nodes", nodes[0], nodes[1])] if any(nodes) else []
    ops = dict.fromkeys(op for facts in both for op in mapping(facts.get("fused")))
    for op in ops:
        counts = [count(number(mapping(facts.get("fused")).get(op))) for facts in both]
        rows.append((text(op), counts[0], counts[1]))
    return rows
