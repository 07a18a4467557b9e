"""Shapes a model takes: where it is timed, and where precisions are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fxprune.deploy.description import longest
from fxprune.traced import Traced


def within(grid: Iterable[tuple[int, int]], slim: Traced) -> list[tuple[int, int]]:
    """Shorten lengths to what the model takes, such as the rows of its position table."""
    most = longest(slim)
    return list(dict.fromkeys((batch, length if most is None else min(length, most)) for batch, length in grid))


def comparison_inputs(examples: Mapping[str, Any], traced: Traced) -> list[dict[str, Any]]:
    """Return inputs to compare other precisions on: as the examples, one row of 32 and eight of 64 tokens."""
    from fxprune.deploy.latency import full_inputs

    return [full_inputs(examples, batch, length) for batch, length in within([(1, 32), (8, 64)], traced)]
