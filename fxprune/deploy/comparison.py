"""ONNX files side by side: whether they agree, what each costs, and how long each takes."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fxprune.deploy import session as session_file
from fxprune.deploy.agreement import Agreement, agreement
from fxprune.deploy.competitors import Competitor, Field
from fxprune.deploy.latency import LatencyRow, Shape, cpu_name, time_shape
from fxprune.deploy.providers import CPU, find_provider
from fxprune.errors import DeployError

FORMAT, VERSION = "fxprune bench", 1
_PACKAGES = ("fxprune", "onnxruntime", "onnx", "numpy", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How models are timed: see `latency_table`."""

    grid: tuple[tuple[int, int], ...] = ((1, 32), (1, 128), (8, 128))
    threads: tuple[int, ...] = (1,)
    rounds: int = 20
    seconds: float = 5.0
    warmup: int = 3
    provider: str = CPU


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What one model is and costs.

    Attributes:
        model: its name.
        bytes: of the ONNX file and the weights beside it.
        opsets, nodes: of the file; the standard domain is "".
        load_ms: of one load in a process of its own, the file in the system's cache; median of three.
        start_mb: memory of that process before the load: Python and ONNX Runtime.
        rss_mb: after it ran the largest shape; None where the system does not tell.
        peak_mb: the most it had.
        pytorch_error: largest error against PyTorch, where it was exported for this comparison.
        agreement: with the first model, on equal inputs; None for the first, or if outputs differ in name or shape.
        differs: why there is no agreement.
    """

    model: str
    bytes: int
    opsets: Mapping[str, int]
    nodes: int
    load_ms: float | None
    start_mb: float | None
    rss_mb: float | None
    peak_mb: float | None
    pytorch_error: float | None
    agreement: Agreement | None
    differs: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Models side by side; the first is the baseline."""

    environment: Mapping[str, Any]
    models: tuple[ModelFacts, ...]
    rows: tuple[LatencyRow, ...]

    def apart(self, tolerance: float) -> list[str]:
        """Name the models whose outputs are further than `tolerance` from the first's, or cannot be compared."""
        return [
            facts.model for facts in self.models[1:] if facts.agreement is None or facts.agreement.max_error > tolerance
        ]

    def to_data(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "environment": dict(self.environment),
            "baseline": self.models[0].model,
            "models": [asdict(facts) for facts in self.models],
            "rows": [row.to_data() for row in self.rows],
        }

    def to_json(self) -> str:
        """Return `to_data` as JSON."""
        return json.dumps(self.to_data(), indent=2)


def compare(
    competitors: Sequence[Competitor], timing: Timing, on_stage: Callable[[str], None] = lambda stage: None
) -> Comparison:
    """Compare the outputs of the models on equal inputs first, then weigh and time them.

    Args:
        competitors: the first is the baseline.
        timing: where and how long.
        on_stage: told what is being done.
    Raises:
        SourceError: a file cannot be read or run here.
        UsageError: ONNX Runtime lacks the provider, or the models have no input in common.
        DeployError: a model cannot run at one of the shapes.
    """
    provider = find_provider(timing.provider)
    on_stage("comparing outputs")
    field = Field.of(competitors, timing.threads[0], provider)
    shapes = field.shapes(timing.grid)
    agreements = _agreements(field, shapes)
    on_stage("memory and load time")
    largest = max(shapes, key=lambda shape: shape[0] * (shape[1] or 1))
    costs = _footprints(field, largest, timing.threads[0], provider)
    rows: list[LatencyRow] = []
    for threads in timing.threads:
        on_stage(f"timing, {threads} thread{'s' if threads > 1 else ''}")
        running = field if threads == timing.threads[0] else Field.of(competitors, threads, provider)
        for batch, length in shapes:
            shape = Shape(batch=batch, length=length, threads=threads, provider=provider)
            feeds = running.feeds(batch, length)
            rows += time_shape(running.sessions, feeds, shape, timing.rounds, timing.seconds, timing.warmup)
    models = tuple(
        ModelFacts(
            model=one.name,
            bytes=field.facts[one.name].bytes,
            opsets=field.facts[one.name].opsets,
            nodes=field.facts[one.name].nodes,
            pytorch_error=one.pytorch_error,
            agreement=agreements[one.name][0],
            differs=agreements[one.name][1],
            **costs[one.name],
        )
        for one in competitors
    )
    return Comparison(environment=environment(provider), models=models, rows=tuple(rows))


def environment(provider: str = CPU) -> dict[str, Any]:
    """Return what numbers depend on besides the models."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "provider": provider,
        **{package: _version(package) for package in _PACKAGES},
    }


def _agreements(
    field: Field, shapes: Sequence[tuple[int, int | None]]
) -> dict[str, tuple[Agreement | None, str | None]]:
    """Compare each model with the first on the same ragged inputs, at every shape."""
    runs = {name: [field.run(name, batch, length) for batch, length in shapes] for name in field.sessions}
    first, *others = runs
    found: dict[str, tuple[Agreement | None, str | None]] = {first: (None, None)}
    for name in others:
        try:
            found[name] = agreement(zip(runs[name], runs[first], strict=True)), None
        except DeployError as error:
            found[name] = None, f"{error.message}: {error.cause}"
    return found


def _footprints(
    field: Field, shape: tuple[int, int | None], threads: int, provider: str
) -> dict[str, dict[str, float | None]]:
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for name, feeds in field.feeds(*shape).items():
            inputs = Path(folder) / "inputs.npz"
            np.savez(inputs, **feeds)  # type: ignore[arg-type]
            found[name] = _footprint(field.paths[name], threads, provider, inputs)
        return found


def _footprint(path: Path, threads: int, provider: str, inputs: Path) -> dict[str, float | None]:
    """Measure in a process of its own; one that fails there (memory, a signal) leaves the fields empty."""
    command = [sys.executable, str(session_file.__file__), str(path), str(threads), provider, str(inputs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return dict.fromkeys(("load_ms", "start_mb", "rss_mb", "peak_mb"))
    found: dict[str, float | None] = json.loads(done.stdout.splitlines()[-1])
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
