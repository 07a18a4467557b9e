"""Schedules: how much of the way to the target a student has gone at each step."""

from __future__ import annotations

from collections.abc import Mapping


def cubic(step: float, start: float, end: float) -> float:
    """Return what is left of the way to the target: 1 before `start`, 0 from `end` on, cubic between.

    ``r(t) = r_f + (1 - r_f) (1 - (t - t_i) / (t_f - t_i))^3`` with ``r(t) = r_f + (1 - r_f) * cubic(t)``.

    Source:
        Zhu & Gupta 2017, arXiv:1710.01878; Liang et al. 2023 (HomoDistil), section 3.

    >>> [cubic(t, 0, 10) for t in (0, 5, 10)]
    [1.0, 0.125, 0.0]
    """
    if step < start:
        return 1.0
    return max(1.0 - (step - start) / (end - start), 0.0) ** 3 if step < end else 0.0


def linear(step: float, start: float, end: float) -> float:
    """Return what is left of the way to the target: 1 before `start`, 0 from `end` on, a line between.

    >>> [linear(t, 0, 10) for t in (0, 5, 10)]
    [1.0, 0.5, 0.0]
    """
    if step < start:
        return 1.0
    return max(1.0 - (step - start) / (end - start), 0.0) if step < end else 0.0


def counts_at(left: float, dense: Mapping[str, int], final: Mapping[str, int]) -> dict[str, int]:
    """Return the units each group keeps when `left` of the way to `final` is left.

    >>> counts_at(0.5, {"a": 10}, {"a": 4})
    {'a': 7}
    """
    return {name: count + round((dense[name] - count) * left) for name, count in final.items()}
