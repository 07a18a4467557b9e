"""What is left of the model: widths kept, groups that could not be cut, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from fxprune.report.bars import draw_layers, draw_widths
from fxprune.report.cleaning import listed, mapping, number, text
from fxprune.report.numbers import count
from fxprune.report.parts import Chart, Charts, Details, Part, Section, Table
from fxprune.report.reading import Results, Width
from fxprune.wording import folded

_FEW = 40  # rows that may stand open
_LEGEND = (("student", "kept"), ("track", "dense"))


def widths(results: Results) -> list[Section]:
    """Return the section of the kept widths; none without a plan."""
    kinds = _kinds(results.widths)
    cut = {kind: rows for kind, rows in kinds.items() if any(row.kept < row.dense for row in rows)}
    if not cut:
        return []
    alone = [rows[0] for rows in cut.values() if len(rows) == 1]
    charts = [_layers(kind, rows) for kind, rows in cut.items() if len(rows) > 1]
    if alone:
        title = "widths of the whole model"
        charts.insert(0, Chart(title=title, drawing=draw_widths(_told(title, alone), alone)))
    exact = Table(
        caption="Units of every group, dense and kept",
        columns=("group", "dense", "kept", "share"),
        rows=[
            (row.name, count(row.dense), count(row.kept), f"{row.kept / row.dense:.0%}")
            for rows in kinds.values()
            for row in rows
            if row.dense > 1
        ],
    )
    parts: list[Part] = [Charts(charts=charts, legend=_LEGEND), Details(summary="all groups", parts=[exact])]
    return [Section(key="widths", title="Kept widths", parts=parts)]


def frozen(results: Results) -> Iterator[Part]:
    """Yield the table of what could not be cut."""
    rows = [mapping(row) for row in listed(results.facts.get("frozen"))]
    table = Table(
        caption="Not cut: groups that hold parameters, with the reason",
        columns=("group", "units", "groups", "parameters", "reason", "where"),
        rows=[_frozen(row) for row in rows],
        words=frozenset({0, 4, 5}),
    )
    if len(rows) > _FEW:
        yield Details(summary=f"{len(rows)} kinds of groups could not be cut", parts=[table])
    elif rows:
        yield table


def _frozen(row: Mapping[str, object]) -> Sequence[str]:
    numbers = (count(number(row.get(name))) for name in ("size", "groups", "parameters"))
    return text(row.get("name")), *numbers, text(row.get("reason")), text(row.get("where"))


def _kinds(rows: Sequence[Width]) -> dict[str, list[Width]]:
    """Group widths that differ in the layer alone."""
    found: dict[str, list[Width]] = {}
    for row in rows:
        found.setdefault(folded(row.name), []).append(row)
    return found


def _layers(kind: str, rows: Sequence[Width]) -> Chart:
    note = f"{_range([row.dense for row in rows])} → {_range([row.kept for row in rows])}, {len(rows)} layers"
    named = [(_layer(row.name, place), row) for place, row in enumerate(rows)]
    return Chart(title=kind, note=note, drawing=draw_layers(_told(kind, rows), named))


def _layer(name: str, place: int) -> str:
    numbers = re.findall(r"(?<=\.)\d+(?=\.)", name)
    return numbers[0] if numbers else str(place)


def _range(sizes: Sequence[int]) -> str:
    low, high = min(sizes), max(sizes)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _told(title: str, rows: Sequence[Width]) -> str:
    shown = "; ".join(f"{row.name}: {row.kept:,} of {row.dense:,}" for row in rows[:6])
    return f"{title}: {shown}" + (f" and {len(rows) - 6} more" if len(rows) > 6 else "")
