"""What the benchmarks share: facts of the machine, runs in alternation, and every number with its spread."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter, process_time
from typing import TypeAlias

import torch
from rich.console import Console
from rich.table import Table

from fxprune.deploy.latency import cpu_name

PACKAGES = ("fxprune", "torch", "transformers", "torch-pruning")

Work: TypeAlias = Callable[[], object]
Case: TypeAlias = Callable[[], Work]  # makes, untimed, what is then timed once


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a number depends on besides the code."""

    cpu: str
    cores: int
    threads: int
    load: float  # processes that wanted a core in the minute before: above 0, others were at work
    python: str
    versions: Mapping[str, str]
    commit: str

    @classmethod
    def of_now(cls) -> Machine:
        """Read the facts of this process."""
        return cls(
            cpu=cpu_name(),
            cores=os.cpu_count() or 1,
            threads=torch.get_num_threads(),
            load=round(os.getloadavg()[0], 2),
            python=platform.python_version(),
            versions={name: _version(name) for name in PACKAGES},
            commit=_commit(),
        )

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return (
            f"{self.cpu}, {self.cores} cores, {threads}, load before {self.load}; "
            f"python {self.python}, {versions}; commit {self.commit}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One timed run: seconds on the clock and seconds of this process, which waits for nobody."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Several runs: median, quartiles and best of the clock, median of the process time."""

    median: float
    low: float
    high: float
    best: float
    cpu: float
    n: int

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Spread:
        """Summarise `samples`."""
        walls = sorted(sample.wall for sample in samples)
        low, median, high = quartiles(walls)
        return cls(
            median=median,
            low=low,
            high=high,
            best=walls[0],
            cpu=statistics.median(sample.cpu for sample in samples),
            n=len(walls),
        )

    def to_json(self) -> dict[str, float | int]:
        """Return the numbers as plain data, in seconds, to four significant digits."""
        return {
            key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in asdict(self).items()
        }


def timed(work: Work) -> Sample:
    """Run `work` once; what it returns is dropped after the clock has stopped."""
    gc.collect()
    wall, cpu = perf_counter(), process_time()
    result = work()
    wall, cpu = perf_counter() - wall, process_time() - cpu
    del result
    return Sample(wall=wall, cpu=cpu)


def peak_mb(work: Work) -> float | None:
    """Run `work` once; return by how many MB it raised this process's memory, None where the system does not tell."""
    gc.collect()
    _return_free_memory()
    before = _start_peak()
    result = work()
    after = memory_mb("VmHWM")
    del result
    return None if before is None or after is None else max(0.0, after - before)


def alternate(cases: Mapping[str, Case], rounds: int, warmup: int = 1) -> dict[str, list[Sample]]:
    """Run the cases in turn, in reverse order every other round, so that a busy machine meets all of them alike.

    Args:
        cases: name -> what prepares a run; the preparation is not timed.
        rounds: timed runs of each.
        warmup: rounds before, not counted.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in cases}
    for turn in range(warmup + rounds):
        for name in list(cases)[:: -1 if turn % 2 else 1]:
            sample = timed(cases[name]())
            if turn >= warmup:
                samples[name].append(sample)
    return samples


def ratio(slow: Sequence[Sample], fast: Sequence[Sample], clock: str = "wall") -> tuple[float, float, float]:
    """Return quartiles and median of slow / fast, round by round: (low, median, high)."""
    return quartiles(sorted(getattr(a, clock) / getattr(b, clock) for a, b in zip(slow, fast, strict=True)))


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, median and upper quartile.

    >>> quartiles([1.0, 2.0, 3.0])
    (1.5, 2.0, 2.5)
    """
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def console() -> Console:
    """Return where tables go; one that is no terminal gets lines long enough for them."""
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)


def table(title: str, spreads: Mapping[str, Spread], peaks: Mapping[str, float | None] | None = None) -> Table:
    """Lay spreads out for reading, in milliseconds, and memory beside them."""
    laid = Table(title=title, title_justify="left")
    for heading in ("", "median ms", "quartiles ms", "best ms", "process ms", "peak MB", "n"):
        laid.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for name, spread in spreads.items():
        peak = (peaks or {}).get(name)
        numbers = ms(spread.median), f"{ms(spread.low)}-{ms(spread.high)}", ms(spread.best), ms(spread.cpu)
        laid.add_row(name, *numbers, "" if peak is None else f"+{peak:.0f}", str(spread.n))
    return laid


def kept(holds: bool) -> str:
    """Say whether a bound holds."""
    return "kept" if holds else "MISSED"


def ms(seconds: float) -> str:
    """Return seconds as milliseconds to three digits.

    >>> ms(0.0123456), ms(1.5)
    ('12.3', '1500')
    """
    value = seconds * 1000
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def memory_mb(field: str) -> float | None:
    """Return a field of this process's memory status (VmRSS, VmHWM) in MB; None where there is none."""
    try:
        found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return None
    return int(found[1]) / 1024 if found else None


def _return_free_memory() -> None:
    """Hand what malloc keeps for later back to the system, so that what is used anew counts."""
    with suppress(OSError, AttributeError):  # a system without glibc
        ctypes.CDLL(None).malloc_trim(0)


def _start_peak() -> float | None:
    """Forget the highest memory so far; return the memory of now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return memory_mb("VmRSS")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    folder = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=folder, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown: its head, then its rows; all columns but the first are numbers."""
    head, *rows = lines
    ruler = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ruler, *rows]) + "\n"
