"""Bars: kept widths layer by layer, and latencies with their quartiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from fxprune.report import svg
from fxprune.report.numbers import milliseconds
from fxprune.report.reading import Width

_ROW, _NAMES, _VALUES = 26.0, 88.0, 112.0
_COLUMNS_HEIGHT, _CAPTION = 84.0, 18.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Milliseconds of one model at one shape."""

    model: str
    p50: float
    p25: float | None
    p75: float | None
    note: str = ""


def draw_timings(title: str, rows: Sequence[Timing]) -> Element:
    """Return a bar a model from zero to its median, with a whisker from quartile to quartile."""
    longest = max(max(row.p50, row.p75 or 0.0) for row in rows) or 1.0
    space = svg.WIDTH - _NAMES - _VALUES
    parts: list[Element] = []
    for place, row in enumerate(rows):
        y, end = place * _ROW + 4, _NAMES + space * row.p50 / longest
        hint = f"{row.model}: p50 {milliseconds(row.p50)}"
        parts.append(svg.label(_NAMES - 8, y + 13, _shortened(row.model), "label", "end"))
        parts.append(svg.box(_NAMES, y, end - _NAMES, _ROW - 8, f"bar {_class(row.model)}", hint))
        if row.p25 is not None and row.p75 is not None:
            low, high = (_NAMES + space * ms / longest for ms in (row.p25, row.p75))
            parts += _whisker(low, high, y + (_ROW - 8) / 2)
        far = max(end, _NAMES + space * (row.p75 or 0.0) / longest)
        parts.append(svg.label(far + 6, y + 13, f"{milliseconds(row.p50)}{row.note}", "value"))
    return svg.drawing(len(rows) * _ROW + 2, title, *parts)


def _whisker(low: float, high: float, y: float) -> list[Element]:
    ends = [svg.line(x, y - 4, x, y + 4, "whisker") for x in (low, high)]
    return [svg.line(low, y, high, y, "whisker"), *ends]


def draw_layers(title: str, widths: Sequence[tuple[str, Width]]) -> Element:
    """Return a column a layer: its dense width as outline, what is kept of it filled.

    Args:
        title: what a screen reader calls it.
        widths: (layer, its width), in order.
    """
    most = max(width.dense for _, width in widths)
    step = svg.WIDTH / len(widths)
    bar = min(step * 0.78, 34.0)
    step = min(step, 44.0)
    parts: list[Element] = []
    for place, (layer, width) in enumerate(widths):
        x = place * step + (step - bar) / 2
        hint = f"layer {layer}: {width.kept:,} of {width.dense:,}"
        for units, class_ in ((width.dense, "track"), (width.kept, "bar student")):
            height = _COLUMNS_HEIGHT * units / most
            parts.append(svg.box(x, 12 + _COLUMNS_HEIGHT - height, bar, height, class_, hint))
        if _named(place, len(widths)):
            parts.append(svg.label(x + bar / 2, 12 + _COLUMNS_HEIGHT + 13, layer, "tick", "middle"))
    return svg.drawing(12 + _COLUMNS_HEIGHT + _CAPTION, title, *parts)


def draw_widths(title: str, rows: Sequence[Width]) -> Element:
    """Return a bar a group that stands alone: its dense width as outline, what is kept filled."""
    parts: list[Element] = []
    for place, row in enumerate(rows):
        y = place * 40.0
        hint = f"{row.name}: {row.kept:,} of {row.dense:,}"
        parts.append(svg.label(0, y + 12, _shortened(row.name, 34)))
        parts.append(svg.label(svg.WIDTH, y + 12, f"{row.kept:,} of {row.dense:,}", "value", "end"))
        parts.append(svg.box(0, y + 18, svg.WIDTH, 14, "track", hint))
        parts.append(svg.box(0, y + 18, svg.WIDTH * row.kept / row.dense, 14, "bar student", hint))
    return svg.drawing(len(rows) * 40.0, title, *parts)


def _named(place: int, count: int) -> bool:
    """Tell whether a column has room for its number."""
    return place % max(1, -(-count // 12)) == 0


def _class(model: str) -> str:
    return model if model in ("teacher", "student") else "other"


def _shortened(name: str, most: int = 13) -> str:
    return name if len(name) <= most else "..." + name[3 - most :]
