"""Timing without a clock: stopwatches and clocks whose answers follow from widths or files alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from models import model_of, traced_of

from fxprune import api, latency
from fxprune.budget import Budget
from fxprune.groups import analyse
from fxprune.latency.files import Files
from fxprune.latency.planner import Planner
from fxprune.latency.space import Space
from fxprune.latency.work import Work
from fxprune.widths import Constraints
from fxprune.workload import Workload

Widths = tuple[int, ...]
AT = Workload(batch=2, length=16)


@dataclass
class FakeStopwatch:
    """Says what a function of the widths says; exported files take `bias` times as long."""

    takes: Callable[[Widths], float]
    bias: float = 1.0
    quickly: list[Widths] = field(default_factory=list)
    really: list[Widths] = field(default_factory=list)

    def quick(self, widths: Iterable[Widths]) -> dict[Widths, float]:
        wanted = list(dict.fromkeys(widths))
        self.quickly += wanted
        return {each: self.takes(each) for each in wanted}

    def real(self, widths: Widths) -> float:
        self.really.append(widths)
        return self.takes(widths) * self.bias


def space_of(name: str, *, loadable: bool = True, min_keep: float = 0.1, round_to: int = 1) -> Space:
    """Return the widths of a tested model."""
    traced = traced_of(name)
    limits = api.constraints(model_of(name), traced) if loadable else Constraints()
    return Space.of(analyse(traced), limits, min_keep=min_keep, round_to=round_to)


def planner_of(name: str, watch: FakeStopwatch, space: Space | None = None) -> Planner:
    """Return a planner of a tested model."""
    traced, space = traced_of(name), space or space_of(name)
    return Planner(space, Work.of(traced, space, AT), watch, AT, Budget.of(traced, space.groups))


def clock_by_size(paths: Mapping[str, Path]) -> Mapping[str, float]:
    """Take files for as slow as they are large: 1 ms for each 10 kB."""
    return {name: path.stat().st_size / 10_000 for name, path in paths.items()}


def time_by_size(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Export and time nothing: stand-ins for files are as slow as they are large; what is timed is kept in `cache`."""

    def write(self: Files, widths: Widths, path: Path) -> None:
        path.write_bytes(b"." * (4 * Budget.of(self.traced, self.space.groups).count(self.space.counts(widths))))

    monkeypatch.setattr(Files, "write", write)
    monkeypatch.setattr(Files, "export", write)
    monkeypatch.setattr(latency, "runtime_clock", lambda examples, workload: clock_by_size)
    monkeypatch.setenv("FXPRUNE_CACHE", str(cache))
