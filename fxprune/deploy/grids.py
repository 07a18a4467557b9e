"""Shapes a model takes: where it is timed, and where precisions are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fxprune.deploy.description import longest
from fxprune.origin import only_batch, only_length
from fxprune.traced import Traced
from fxprune.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySettings:
    """Where teacher and student are timed: see `latency_table`."""

    grid: tuple[tuple[int, int], ...] = ((1, 32), (1, 128), (8, 128))
    threads: tuple[int, ...] = (1,)
    rounds: int = 20
    seconds: float = 5.0

    def covering(self, workload: Workload) -> LatencySettings:
        """Return the same, with the shape widths were chosen for."""
        grid = dict.fromkeys((*self.grid, (workload.batch, workload.length)))
        return replace(self, grid=tuple(grid), threads=tuple(dict.fromkeys((*self.threads, workload.threads))))


def within(grid: Iterable[tuple[int, int]], slim: Traced) -> list[tuple[int, int]]:
    """Bring shapes to what the model takes: the rows of its position table, or the only length or batch it takes."""
    only, most, rows = only_length(slim), longest(slim), only_batch(slim)

    def taken(length: int) -> int:
        return only or (length if most is None else min(length, most))

    return list(dict.fromkeys((rows or batch, taken(length)) for batch, length in grid))


def comparison_inputs(examples: Mapping[str, Any], traced: Traced) -> list[dict[str, Any]]:
    """Return inputs to compare other precisions on: as the examples, one row of 32 and eight of 64 tokens."""
    from fxprune.deploy.latency import full_inputs

    return [full_inputs(examples, batch, length) for batch, length in within([(1, 32), (8, 64)], traced)]
