"""Latency of ONNX files beside one another: runs alternated, threads pinned, every number with its spread."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

from fxprune.deploy.ort import feeds, open_session, plain_line
from fxprune.deploy.providers import CPU, find_provider
from fxprune.deploy.resting import rest
from fxprune.errors import DeployError
from fxprune.redrawing import is_mask
from fxprune.shapes import LENGTH, dynamic_shapes, resized

if TYPE_CHECKING:
    from numpy import ndarray
    from onnxruntime import InferenceSession

    Feeds = dict[str, ndarray]


_BLOCK = 5  # timed runs of one model in its turn, after one that wakes its threads and fetches its weights
_LEAST_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRow:
    """Time of one run of one model at one shape, in milliseconds, and all that it depends on."""

    model: str
    batch: int
    length: int | None  # None: the model has no sequence
    threads: int  # inside an operator; operators run one after another
    p50_ms: float
    p95_ms: float
    p25_ms: float
    p75_ms: float
    n: int  # timed runs
    warmup: int  # runs before
    provider: str
    onnxruntime: str
    cpu: str
    fxprune: str
    p90_ms: float | None = None  # rows of older files have none

    @property
    def sequences_per_second(self) -> float:
        """How many rows of a batch the median run answers in a second."""
        return round(1000 * self.batch / self.p50_ms, 2)

    @property
    def tokens_per_second(self) -> float | None:
        """The same in positions; None if the model has no sequence."""
        return None if self.length is None else round(1000 * self.batch * self.length / self.p50_ms, 1)

    def to_data(self) -> dict[str, Any]:
        """Return fields and rates, for JSON."""
        rates = {"sequences_per_second": self.sequences_per_second, "tokens_per_second": self.tokens_per_second}
        return {**asdict(self), **rates}


def latency_table(
    models: Mapping[str, Path],
    example_kwargs: Mapping[str, Any],
    grid: Sequence[tuple[int, int]] = ((1, 32), (1, 128), (8, 128)),
    threads: Sequence[int] = (1,),
    rounds: int = 20,
    seconds: float = 5.0,
    warmup: int = 3,
    provider: str = CPU,
) -> list[LatencyRow]:
    """Measure `models` in turn at every shape of `grid`; that their outputs are right is to be checked before.

    Args:
        models: name -> ONNX file; the first is what `to_table` compares with.
        example_kwargs: arguments both models take; inputs of other shapes are drawn from them, nothing is padded.
        grid: (batch, length); for models without a sequence only the batches count.
        threads: for each of these numbers.
        rounds: most rounds for one shape; in each, every model runs a few times in a row.
        seconds: most time for one shape and number of threads, all models together; three rounds are always run.
        warmup: runs of each model at each shape before the first round.
        provider: of ONNX Runtime, by short or long name.
    Raises:
        DeployError: a model cannot run at one of the shapes.
        UsageError: ONNX Runtime does not have this provider.
    """
    full = find_provider(provider)
    rows: list[LatencyRow] = []
    for number in threads:
        sessions = {name: open_session(path, number, full, spinning=True) for name, path in models.items()}
        for batch, length in cells(example_kwargs, grid):
            shape = Shape(batch=batch, length=length, threads=number, provider=full)
            kwargs = full_inputs(example_kwargs, batch, length)
            inputs = {name: feeds(session, kwargs) for name, session in sessions.items()}
            rows += time_shape(sessions, inputs, shape, rounds, seconds, warmup)
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Where a run is timed."""

    batch: int
    length: int | None
    threads: int
    provider: str


def time_shape(
    sessions: Mapping[str, InferenceSession],
    inputs: Mapping[str, Feeds],
    shape: Shape,
    rounds: int,
    seconds: float,
    warmup: int,
) -> list[LatencyRow]:
    """Time loaded models in turn at one shape, on inputs that have it; the rest is as for `latency_table`."""
    _warm_up(sessions, inputs, warmup, shape)
    times = _alternate(sessions, inputs, rounds, seconds)
    return [_row(name, shape, warmup, taken) for name, taken in times.items()]


def to_json(rows: Sequence[LatencyRow]) -> str:
    """Return the rows as a JSON list of objects."""
    return json.dumps([row.to_data() for row in rows], indent=2)


def cells(example_kwargs: Mapping[str, Any], grid: Sequence[tuple[int, int]]) -> list[tuple[int, int | None]]:
    """Return the shapes of `grid`, each once; without a length if the inputs have none."""
    specs = dynamic_shapes(example_kwargs).values()
    has_length = any(dim.__name__ == LENGTH for spec in specs if isinstance(spec, dict) for dim in spec.values())
    return list(dict.fromkeys((batch, length if has_length else None) for batch, length in grid))


def full_inputs(example_kwargs: Mapping[str, Any], batch: int, length: int | None) -> dict[str, Any]:
    """Return inputs of this shape whose masks hide nothing: every position counts."""
    kwargs = resized(example_kwargs, batch, length or 1)
    return {
        name: torch.ones_like(value) if isinstance(value, torch.Tensor) and is_mask(name, value) else value
        for name, value in kwargs.items()
    }


def _warm_up(sessions: Mapping[str, InferenceSession], inputs: Mapping[str, Feeds], warmup: int, shape: Shape) -> None:
    for name, session in sessions.items():
        try:
            for _ in range(max(1, warmup)):
                session.run(None, inputs[name])
        except Exception as err:  # ONNX Runtime derives its errors from Exception alone
            raise DeployError(
                f"{name} cannot run at batch {shape.batch}, length {shape.length}",
                cause=plain_line(err),
                remedy="measure at shapes the model was made for",
            ) from err


def _alternate(
    sessions: Mapping[str, InferenceSession], inputs: Mapping[str, Feeds], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Run the models in turn, in reverse order every other round; return the seconds of every timed run.

    A turn begins when the threads of the last model sleep, with a run that wakes those of its own.
    """
    times: dict[str, list[float]] = {name: [] for name in sessions}
    start = perf_counter()
    for turn in count():
        if turn >= min(rounds, _LEAST_ROUNDS) and (turn >= rounds or perf_counter() - start > seconds):
            break
        for name in list(sessions)[:: -1 if turn % 2 else 1]:
            rest()
            sessions[name].run(None, inputs[name])
            times[name] += [_timed(sessions[name], inputs[name]) for _ in range(_BLOCK)]
    return times


def _timed(session: InferenceSession, inputs: Feeds) -> float:
    start = perf_counter()
    session.run(None, inputs)
    return perf_counter() - start


def _row(name: str, shape: Shape, warmup: int, seconds: list[float]) -> LatencyRow:
    import numpy as np

    ms = np.percentile(np.array(seconds) * 1000, [25, 50, 75, 90, 95])
    p25, p50, p75, p90, p95 = (round(float(value), 4) for value in ms)
    return LatencyRow(
        model=name,
        batch=shape.batch,
        length=shape.length,
        threads=shape.threads,
        p50_ms=p50,
        p90_ms=p90,
        p95_ms=p95,
        p25_ms=p25,
        p75_ms=p75,
        n=len(seconds),
        warmup=max(1, warmup),
        provider=shape.provider,
        onnxruntime=version("onnxruntime"),
        cpu=cpu_name(),
        fxprune=version("fxprune"),
    )


def cpu_name() -> str:
    """Return the processor's model name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
