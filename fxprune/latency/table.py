"""A latency table on disk: what files of some widths took on this machine, so that nothing is timed twice."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fxprune import deploy, passes
from fxprune.atomic import atomic_write
from fxprune.deploy.latency import cpu_name
from fxprune.deploy.ort import PROVIDER
from fxprune.workload import Workload

VERSION = 1
Times = dict[tuple[int, ...], float]  # widths -> milliseconds


def cache_folder() -> Path:
    """Return where tables are kept: ``$FXPRUNE_CACHE``, else the user's cache folder."""
    given = os.environ.get("FXPRUNE_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fxprune"


def machine() -> dict[str, str]:
    """Return what a latency depends on besides the model and its inputs."""
    packages = {name: version(name) for name in ("onnxruntime", "fxprune", "torch")}
    return {"cpu": cpu_name(), "cores": str(os.cpu_count()), "system": platform.system(), **packages, "code": _code()}


@cache
def _code() -> str:
    """Hash the source that decides what a file looks like: another exporter makes other files."""
    digest = hashlib.sha256()
    for folder in (deploy.__path__[0], passes.__path__[0]):
        for path in sorted(Path(folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@dataclass(slots=True)
class Table:
    """Times of one model at one workload.

    Attributes:
        path: of the file; None: nothing is kept.
        key: what the times are of, in words.
        written: times of files written by template, milliseconds.
        exported: times of files that were exported.
    """

    path: Path | None
    key: Mapping[str, Any]
    written: Times = field(default_factory=dict)
    exported: Times = field(default_factory=dict)

    @classmethod
    def open(cls, model: str, workload: Workload, folder: Path | None = None) -> Table:
        """Read the table of a model (by its fingerprint) at a workload; a damaged or foreign file counts as none."""
        key = {"version": VERSION, "model": model, **asdict(workload), "provider": PROVIDER, **machine()}
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
        table = cls((folder or cache_folder()) / "latency" / f"{digest}.json", key)
        table._read()
        return table

    def _read(self) -> None:
        assert self.path is not None
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            if data["key"] == self.key:
                self.written, self.exported = _times(data["written"]), _times(data["exported"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.written, self.exported = {}, {}

    def save(self) -> None:
        """Write the table, atomically; where the folder cannot be written, the next call times anew."""
        if self.path is None:
            return
        data = {"key": dict(self.key), "written": _rows(self.written), "exported": _rows(self.exported)}
        try:
            atomic_write(self.path, json.dumps(data, indent=1) + "\n")
        except OSError:
            self.path = None


def _rows(times: Times) -> list[list[Any]]:
    return [[list(widths), ms] for widths, ms in times.items()]


def _times(rows: Any) -> Times:
    found = {tuple(int(n) for n in widths): float(ms) for widths, ms in rows}
    if not all(ms > 0 for ms in found.values()):
        raise ValueError("a time that is not positive")
    return found
