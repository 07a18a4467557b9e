"""A stopwatch: times ONNX files of many widths in turn."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from fxprune.latency.files import Files
from fxprune.latency.table import Table
from fxprune.workload import Workload

Clock = Callable[[Mapping[str, Path]], Mapping[str, float]]  # name -> file; name -> milliseconds
_AT_ONCE = 6  # files that take turns, all of them in memory
_DISTURBED = 1.15  # a file and its template agree to some percent; more was the machine, most likely
_LITTLE, _SECONDS = 0.8, 4.0  # seconds a file may take in its first runs to be run more often; most for all of them


class Stopwatch(Protocol):
    """What tells how long widths take."""

    def quick(self, widths: Iterable[tuple[int, ...]]) -> dict[tuple[int, ...], float]:
        """Return the milliseconds of files written by template."""

    def real(self, widths: tuple[int, ...]) -> float:
        """Return the milliseconds of an exported file."""


class FileStopwatch:
    """Times files, and remembers what it has timed.

    Args:
        files: writes them.
        table: what is known already.
        clock: times files in turn.
    """

    def __init__(self, files: Files, table: Table, clock: Clock) -> None:
        self.files, self.table, self.clock = files, table, clock

    def quick(self, widths: Iterable[tuple[int, ...]]) -> dict[tuple[int, ...], float]:
        """Time what is not known yet, a few files in turn; sizes that are near one another first."""
        wanted = list(dict.fromkeys(widths))
        new = sorted((each for each in wanted if each not in self.table.written), key=sum)
        for start in range(0, len(new), _AT_ONCE):
            self.table.written |= self._timed(new[start : start + _AT_ONCE])
            self.table.save()
        return {each: self.table.written[each] for each in wanted}

    def _timed(self, widths: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], float]:
        with tempfile.TemporaryDirectory() as folder:
            paths = {str(i): Path(folder) / f"{i}.onnx" for i in range(len(widths))}
            for each, path in zip(widths, paths.values(), strict=True):
                self.files.write(each, path)
            times = self.clock(paths)
        return {each: times[name] for each, name in zip(widths, paths, strict=True)}

    def real(self, widths: tuple[int, ...]) -> float:
        """Export these widths and time the file, twice where it takes longer than its template by too much."""
        if widths not in self.table.exported:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.onnx"
                self.files.export(widths, path)
                took = self.clock({"0": path})["0"]
                if took > _DISTURBED * self.table.written.get(widths, took):
                    took = min(took, self.clock({"0": path})["0"])
                self.table.exported[widths] = took
            self.table.save()
        return self.table.exported[widths]


def runtime_clock(examples: Mapping[str, Any], workload: Workload) -> Clock:
    """Return a clock that runs files in ONNX Runtime at one shape and takes medians.

    All files run a few times; where that took little, they run in more rounds, in turn.

    Args:
        examples: arguments of the model.
        workload: the shape.
    """
    shape = [(workload.batch, workload.length)]

    def clock(paths: Mapping[str, Path]) -> Mapping[str, float]:
        from fxprune.deploy.latency import latency_table

        start = monotonic()
        rows = latency_table(dict(paths), examples, shape, [workload.threads], rounds=1, warmup=1)
        if monotonic() - start < _LITTLE * len(paths):
            rows = latency_table(dict(paths), examples, shape, [workload.threads], rounds=5, seconds=_SECONDS, warmup=1)
        return {row.model: row.p50_ms for row in rows}

    return clock
