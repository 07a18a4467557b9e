"""Curves over the steps of a run, with its cuts marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import TypeAlias
from xml.etree.ElementTree import Element

from fxprune.report import svg
from fxprune.wording import short

Point: TypeAlias = tuple[float, float]  # step, value
Jump: TypeAlias = tuple[float, float, float]  # step, value before, value after

HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 176.0, 44.0, 8.0, 10.0, 34.0
_MOST = 300  # points of one curve: more than its pixels would only make the page long
_WINDOW = 9  # steps whose median is drawn over a noisy curve
_MOST_HINTS = 80  # points that are drawn as dots


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Values over steps.

    Attributes:
        title: what a screen reader calls it.
        points: ascending in step.
        steps: of the whole run.
        cuts: steps in which units went.
        jumps: (step, before, after) of cuts.
        noisy: draw a running median over the values.
        stairs: the value holds from one step to the next.
    """

    title: str
    points: Sequence[Point]
    steps: int
    cuts: Sequence[int] = ()
    jumps: Sequence[Jump] = ()
    noisy: bool = False
    stairs: bool = False


def draw(curve: Curve) -> Element:
    """Return the drawing of a curve: axes from zero, cuts as ticks along the steps."""
    values = [value for _, value in curve.points] + [value for _, *ends in curve.jumps for value in ends]
    axes = _Axes(curve.steps, svg.nice_ticks(max(values, default=0.0)))
    return svg.drawing(HEIGHT, curve.title, *axes.drawn(), *_cuts(curve, axes), *_marks(curve, axes))


class _Axes:
    def __init__(self, steps: int, ticks: Sequence[float]) -> None:
        self.steps, self.ticks = max(steps, 1), ticks

    def x(self, step: float) -> float:
        return LEFT + (svg.WIDTH - LEFT - RIGHT) * min(max(step / self.steps, 0.0), 1.0)

    def y(self, value: float) -> float:
        share = min(max(value / self.ticks[-1], 0.0), 1.0)
        return TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - share)

    def drawn(self) -> list[Element]:
        parts = []
        for tick in self.ticks:
            y = self.y(tick)
            parts.append(svg.line(LEFT, y, svg.WIDTH - RIGHT, y, "grid" if tick else "axis"))
            parts.append(svg.label(LEFT - 6, y + 4, _tick(tick), "tick", "end"))
        for step in (0, self.steps // 2, self.steps):
            anchor = {0: "start", self.steps: "end"}.get(step, "middle")
            words = f"{step:,}" if step else "step 0"
            parts.append(svg.label(self.x(step), HEIGHT - 6, words, "tick", anchor))
        return parts


def _cuts(curve: Curve, axes: _Axes) -> list[Element]:
    floor = HEIGHT - BOTTOM
    return [svg.line(axes.x(step), floor + 2, axes.x(step), floor + 9, "cut") for step in curve.cuts]


def _marks(curve: Curve, axes: _Axes) -> list[Element]:
    parts = [svg.line(axes.x(step), axes.y(a), axes.x(step), axes.y(b), "jump") for step, a, b in curve.jumps]
    if not curve.points:
        return parts
    if curve.noisy and len(curve.points) > 2 * _WINDOW:
        parts.append(_line(curve.points, axes, "faint"))
        return [*parts, _line(_smooth(curve.points), axes, "student", thin=False)]
    corners = _stairs(curve.points) if curve.stairs else ()
    stairs = 0 < len(corners) <= 2 * _MOST  # with more, nobody sees them
    parts.append(_line(corners if stairs else curve.points, axes, "student", thin=not stairs))
    if not curve.stairs and len(curve.points) <= _MOST_HINTS:
        parts += [_dot(step, value, axes) for step, value in curve.points]
    return parts


def _dot(step: float, value: float, axes: _Axes) -> Element:
    title = svg.hint(f"step {step:,.0f}: {value:.4g}")
    return svg.element("circle", title, cx=axes.x(step), cy=axes.y(value), r=2.5, class_="dot")


def _line(points: Sequence[Point], axes: _Axes, class_: str, *, thin: bool = True) -> Element:
    shown = _thinned(points) if thin else points
    return svg.path([(axes.x(step), axes.y(value)) for step, value in shown], f"curve {class_}")


def _thinned(points: Sequence[Point]) -> list[Point]:
    """Return at most `_MOST` points: means of equally many neighbours."""
    size = -(-len(points) // _MOST)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(fmean(step for step, _ in part), fmean(value for _, value in part)) for part in parts]


def _smooth(points: Sequence[Point]) -> list[Point]:
    """Return running medians, at no more places than are drawn."""
    reach = max(_WINDOW, len(points) // 40) // 2
    values = [value for _, value in points]
    places = sorted({*range(0, len(points), -(-len(points) // _MOST)), len(points) - 1})
    return [(points[place][0], median(values[max(0, place - reach) : place + reach + 1])) for place in places]


def _stairs(points: Sequence[Point]) -> list[Point]:
    """Return the corners of a value that holds until it changes."""
    corners = [points[0]]
    for step, value in points[1:]:
        if value != corners[-1][1]:
            corners += [(step, corners[-1][1]), (step, value)]
    return [*corners, (points[-1][0], corners[-1][1])]


def _tick(value: float) -> str:
    return short(int(value)) if value >= 1000 else f"{value:g}"
