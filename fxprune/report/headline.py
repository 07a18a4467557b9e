"""Teacher against student: the numbers a reader looks for first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from fxprune.report.cleaning import listed, mapping, number, text, whole
from fxprune.report.numbers import change, count, megabytes, milliseconds, ratio, short, value
from fxprune.report.reading import WEIGHTS, Results
from fxprune.wording import shape_name

Row: TypeAlias = tuple[str, str, str, str]  # quantity, teacher, student, change
COLUMNS = ("", "teacher", "student", "change")

_TERMS = {
    "kl": "KL to the teacher, held out (nats)",
    "hidden": "features, held out (relative squared error)",
    "embedding": "embeddings, held out (relative squared error)",
    "attention": "attention, held out",
    "accuracy": "accuracy, held out",
}


def headline(results: Results) -> list[Row]:
    """Return all quantities both models have, and those of the student alone."""
    return [*_sizes(results), *_flops(results), *_latencies(results), *_losses(results)]


def summary(results: Results) -> str:
    """Return the three numbers that matter most, in one sentence; empty where no student is known."""
    dense, slim = parameters(results)
    if slim is None:
        return ""
    words = [f"{short(slim)} parameters" + (f", {dense / slim:.2f}x fewer than its teacher" if dense else "")]
    if fastest := _speed_ups(results):
        low, high = min(fastest), max(fastest)
        words.append(f"{low:.1f}x to {high:.1f}x faster" if high - low >= 0.1 else f"{low:.1f}x as fast")
    before, after = (number(results.part("losses", who).get("task")) for who in ("teacher", "student"))
    if before is not None and after is not None:
        words.append(f"{_objective(results)} loss {value(before)} → {value(after)} on held-out data")
    return "; ".join(words) + "."


def parameters(results: Results) -> tuple[int | None, int | None]:
    """Return the parameters of teacher and student."""
    params = results.part("params")
    student = whole(params.get("student"))
    return whole(params.get("teacher")), whole(results.facts.get("parameters")) if student is None else student


def shapes(latency: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the latency rows of each shape and number of threads, by its name."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in latency:
        if number(row.get("p50_ms")) is not None:
            found.setdefault(_shape(row), []).append(row)
    return found


def _shape(row: Mapping[str, Any]) -> str:
    length, threads = whole(row.get("length")), whole(row.get("threads")) or 1
    return text(f"{shape_name(row.get('batch'), length)}, {threads} thread{'s' if threads > 1 else ''}")


def medians(rows: list[Mapping[str, Any]]) -> dict[str, float]:
    """Return the median of each model, in milliseconds."""
    found = {text(row.get("model")): number(row.get("p50_ms")) for row in rows}
    return {model: ms for model, ms in found.items() if ms is not None}


def _sizes(results: Results) -> Iterator[Row]:
    dense, slim = parameters(results)
    if slim is not None:
        yield "parameters", count(dense), count(slim), ratio(dense, slim, "fewer")
    weights = results.sizes.get(WEIGHTS)
    if weights is not None:
        yield "weights file", "", megabytes(weights), ""
    files = results.part("onnx_bytes")
    before, after = whole(files.get("teacher")), whole(files.get("student"))
    if after is not None:
        yield "ONNX file", megabytes(before), megabytes(after), ratio(before, after, "smaller")


def _flops(results: Results) -> Iterator[Row]:
    flops = results.part("flops")
    before, after = whole(flops.get("teacher")), whole(flops.get("student"))
    if before and after:
        title = text(f"FLOPs at {shape_name(flops.get('batch'), flops.get('length'))}")
        yield title, short(before), short(after), ratio(before, after, "fewer")


def _latencies(results: Results) -> Iterator[Row]:
    for shape, rows in shapes(results.latency).items():
        ms = medians(rows)
        if "student" in ms:
            before, after = ms.get("teacher"), ms["student"]
            yield f"latency {shape}, p50", milliseconds(before), milliseconds(after), ratio(before, after, "faster")


def _speed_ups(results: Results) -> list[float]:
    found = [medians(rows) for rows in shapes(results.latency).values()]
    return [ms["teacher"] / ms["student"] for ms in found if ms.get("teacher") and ms.get("student")]


def _losses(results: Results) -> Iterator[Row]:
    before = results.part("losses", "teacher")
    for name, after in results.part("losses", "student").items():
        if (found := number(after)) is not None:
            dense = number(before.get(name, 0.0))  # a teacher is as far from itself as that
            title = f"{_objective(results)} loss, held out" if name == "task" else _TERMS.get(name, f"{name}, held out")
            yield title, value(dense), value(found), change(dense, found)


def _objective(results: Results) -> str:
    return text(results.facts.get("objective")) or "task"


def family(results: Results) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of the snapshots of a run: name, parameters, losses, and latency if all were timed."""
    timed = map(mapping, listed(results.facts.get("snapshot_latency")))
    times = {shape: medians(rows) for shape, rows in shapes(timed).items()}
    terms = list(dict.fromkeys(name for facts in results.members.values() for name in _held_out(facts)))
    rows = []
    for name, facts in results.members.items():
        losses = _held_out(facts)
        student = whole(mapping(facts.get("params")).get("student"))
        params = whole(facts.get("parameters")) if student is None else student
        step = whole(facts.get("step"))
        cells = [value(number(losses.get(term))) for term in terms]
        cells += [milliseconds(ms.get(name)) for ms in times.values()]
        rows.append([f"{name}/", count(params), "the end" if step is None else count(step), *cells])
    return ["folder", "parameters", "step", *terms, *times], rows


def _held_out(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(mapping(facts.get("losses")).get("student"))
