"""The run step by step: size, discrepancy to the teacher and every loss, with its cuts marked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from fxprune.report.cleaning import listed, mapping, number, whole
from fxprune.report.curves import Curve, Jump, Point, draw
from fxprune.report.numbers import count, seconds
from fxprune.report.parts import Chart, Charts, Part, Prose, Section
from fxprune.report.reading import Results

Rows: TypeAlias = Sequence[Mapping[str, Any]]
Found: TypeAlias = tuple[str, list[Point], list[Jump], str]  # title, points, jumps, style
_TITLES = {
    "total": "loss of training, all terms weighted",
    "task": "task loss (nats; of a regression its square)",
    "kl": "KL to the teacher's predictions (nats)",
    "hidden": "features (relative squared error)",
    "embedding": "embeddings (relative squared error)",
    "attention": "attention",
}
_LEGEND = (
    ("line student", "value (of noisy ones the running median)"),
    ("line faint", "each step"),
    ("line cut", "cut"),
)


def training(results: Results) -> list[Section]:
    """Return the section of the metrics; none for a run without steps."""
    rows = results.steps
    if not rows:
        return []
    steps = max(whole(rows[-1].get("steps")) or 0, int(number(rows[-1].get("step")) or 0))
    cuts = [int(row["step"]) for row in rows if row.get("cut") is True]
    charts = [_chart(*found, steps=steps, cuts=cuts) for found in _curves(rows)]
    parts: list[Part] = [Prose(text=_told(results, steps, cuts)), Charts(charts=charts, legend=_LEGEND)]
    return [Section(key="training", title="Training", parts=parts)]


def _told(results: Results, steps: int, cuts: list[int]) -> str:
    rows = results.steps
    ran = f"{count(len(rows))} of {count(steps)} steps" if len(rows) < steps else f"{count(steps)} steps"
    went = f"{len(cuts):,} cut{'' if len(cuts) == 1 else 's'}"
    went += f" between steps {cuts[0]:,} and {cuts[-1]:,}" if len(cuts) > 1 else ""
    repaired = sum(row.get("repaired") is not None for row in rows)
    words = [ran, went, *([f"{repaired:,} repairs"] if repaired else [])]
    if (taken := number(results.facts.get("seconds"))) is not None:
        words.append(f"{seconds(taken)} of wall-clock")
    return ", ".join(words) + "."


def _curves(rows: Rows) -> list[Found]:
    """Return title, points, jumps and style of every chart that has points."""
    apart = "discrepancy to the teacher on held-out data; vertical: a cut, before and after"
    charts: list[Found] = [
        ("parameters", _points(rows, lambda row: row.get("params")), [], "stairs"),
        (apart, _points(rows, lambda row: row.get("discrepancy")), _jumps(rows), ""),
    ]
    for name in dict.fromkeys(name for row in rows for name in mapping(row.get("losses"))):
        points = _points(rows, lambda row, name=name: mapping(row.get("losses")).get(name))  # type: ignore[misc]
        if any(height for _, height in points):
            charts.append((_TITLES.get(name, name), points, [], "noisy"))
    return [chart for chart in charts if chart[1]]


def _points(rows: Rows, read: Callable[[Mapping[str, Any]], Any]) -> list[Point]:
    found = [(row["step"], number(read(row))) for row in rows]
    return [(step, height) for step, height in found if height is not None]


def _jumps(rows: Rows) -> list[Jump]:
    found = []
    for row in rows:
        ends = [number(value) for value in listed(row.get("jump"))]
        if len(ends) == 2 and ends[0] is not None and ends[1] is not None:
            found.append((row["step"], ends[0], ends[1]))
    return found


def _chart(title: str, points: list[Point], jumps: list[Jump], style: str, *, steps: int, cuts: list[int]) -> Chart:
    last = f", {points[-1][1]:.4g} at step {points[-1][0]:,.0f}"
    curve = Curve(
        title=f"{title} over {steps:,} steps{last}",
        points=points,
        steps=steps,
        cuts=cuts,
        jumps=jumps,
        noisy=style == "noisy",
        stairs=style == "stairs",
    )
    return Chart(title=title, drawing=draw(curve))
