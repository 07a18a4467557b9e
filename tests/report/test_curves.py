"""Curves keep their shape however long the run is."""

from __future__ import annotations

import re

from fxprune.report.curves import Curve, draw


def marks(curve: Curve, class_: str) -> list[str]:
    return [item.get("d") or "" for item in draw(curve).iter() if item.get("class") == class_]


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)]


def test_a_curve_reaches_from_the_first_step_to_the_last():
    curve = Curve(title="loss", points=[(1, 4.0), (50, 2.0), (100, 0.0)], steps=100)
    (path,) = marks(curve, "curve student")
    (x0, y0), (_, y1), (x2, y2) = points(path)
    assert x0 < 50
    assert x2 == 352.0
    assert y0 < y1 < y2 == 142.0  # zero stands on the axis


def test_a_long_run_is_thinned_and_a_noisy_one_smoothed():
    noisy = [(step, 2.0 + step * 7919 % 101 / 50) for step in range(1, 20_001)]
    curve = Curve(title="loss", points=noisy, steps=20_000, noisy=True, cuts=[10, 20])
    faint, strong = marks(curve, "curve faint"), marks(curve, "curve student")
    assert len(points(faint[0])) <= 300
    assert len(points(strong[0])) <= 301
    assert len(marks(curve, "cut")) == 2
    heights = [y for _, y in points(strong[0])[20:-20]]  # at the ends there is less to take the median of
    assert max(heights) - min(heights) < 5


def test_a_size_holds_until_the_next_cut():
    curve = Curve(title="size", points=[(1, 10.0), (2, 10.0), (3, 5.0), (4, 5.0)], steps=4, stairs=True)
    (path,) = marks(curve, "curve student")
    found = points(path)
    assert len(found) == 4
    assert found[1][0] == found[2][0]
    shrinking = Curve(title="size", points=[(n, 9000.0 - n) for n in range(9000)], steps=9000, stairs=True)
    assert len(points(marks(shrinking, "curve student")[0])) <= 300


def test_nothing_and_zeros_can_be_drawn():
    assert marks(Curve(title="none", points=[], steps=0), "curve student") == []
    assert len(points(marks(Curve(title="zero", points=[(1, 0.0), (2, 0.0)], steps=2), "curve student")[0])) == 2
