"""Drawings as trees of SVG elements; colours come from the classes of the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable
from xml.etree.ElementTree import Element

WIDTH = 360  # of every drawing: a phone's column, so that its letters keep their size


def drawing(height: float, label: str, *children: Element | None) -> Element:
    """Return a drawing of the common width that a screen reader calls `label`."""
    box = f"0 0 {WIDTH} {height:g}"
    return element("svg", *children, viewBox=box, role="img", aria_label=label, preserveAspectRatio="xMinYMin meet")


def element(tag: str, *children: Element | str | None, **attributes: object) -> Element:
    """Return an element; ``stroke_width`` stands for ``stroke-width``, ``class_`` for ``class``."""
    names = {name.rstrip("_").replace("_", "-"): _text(value) for name, value in attributes.items()}
    made = Element(tag, names)
    for child in children:
        if isinstance(child, str):
            made.text = (made.text or "") + child
        elif child is not None:
            made.append(child)
    return made


def label(x: float, y: float, text: str, class_: str = "label", anchor: str = "start") -> Element:
    """Return a line of text."""
    return element("text", text, x=x, y=y, class_=class_, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Element:
    """Return a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def box(x: float, y: float, width: float, height: float, class_: str, title: str = "") -> Element:
    """Return a rectangle that says `title` under the pointer."""
    return element("rect", hint(title), x=x, y=y, width=max(width, 0.0), height=max(height, 0.0), class_=class_)


def path(points: Iterable[tuple[float, float]], class_: str) -> Element:
    """Return a line through points."""
    return element("path", d="M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points), class_=class_)


def hint(title: str) -> Element | None:
    """Return what the pointer shows."""
    return element("title", title) if title else None


def nice_ticks(highest: float, most: int = 4) -> list[float]:
    """Return round numbers from 0 to just above `highest`, `most` steps at the most.

    >>> nice_ticks(7.3)
    [0.0, 2.0, 4.0, 6.0, 8.0]
    >>> nice_ticks(0.0)
    [0.0, 1.0]
    """
    if highest <= 0 or not math.isfinite(highest):
        return [0.0, 1.0]
    rough = highest / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * unit for unit in (1, 2, 2.5, 5, 10) if power * unit >= rough * (1 - 1e-9))
    count = math.ceil(highest / step * (1 - 1e-9))
    return [float(f"{step * place:.10g}") for place in range(count + 1)]


def _text(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
