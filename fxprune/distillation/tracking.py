"""What a run writes down while it goes: ``metrics.jsonl`` always, and the trackers that were asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fxprune.atomic import atomic_write
from fxprune.distillation.checkpoints.history import line_of, lines_of
from fxprune.distillation.report import StepReport
from fxprune.errors import UsageError, unknown_name

_PACKAGES = {"comet_ml": "comet-ml"}  # where the name of the package differs from that of the tracker


def check_trackers(names: Iterable[str]) -> None:
    """Raise UsageError for a tracker that is unknown, or whose package is missing."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    known = [str(name) for name in LOGGER_TYPE_TO_CLASS]
    available = {getattr(found, "value", str(found)) for found in get_available_trackers()}
    for name in names:
        if name not in known:
            raise UsageError(unknown_name("tracker", name, known))
        if name not in available:
            package = _PACKAGES.get(name, name)
            raise UsageError(f"the tracker {name} is not installed", remedy=f"pip install {package}, or leave it out")


class Recorder:
    """Writes each step at once: a run that is killed has the metrics of all its steps.

    Args:
        path: of the JSON lines; started anew.
        trackers: names of trackers; their files go beside it.
        settings: of the run, for the trackers.
        history: steps that are written already, by an earlier process.
    """

    def __init__(
        self,
        path: Path,
        trackers: Iterable[str] = (),
        settings: Mapping[str, Any] | None = None,
        history: Iterable[StepReport] = (),
    ) -> None:
        self.path = path
        atomic_write(path, lines_of(history))
        self._file = path.open("a", encoding="utf-8")
        self._trackers = [_tracker(name, path.parent, settings or {}) for name in trackers]

    def write(self, step: StepReport) -> None:
        """Write one step."""
        line = line_of(step)
        self._file.write(line)
        self._file.flush()
        for tracker in self._trackers:
            tracker.log(_flat(json.loads(line)), step=step.step)

    def close(self) -> None:
        """End the files."""
        self._file.close()
        for tracker in self._trackers:
            tracker.finish()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _tracker(name: str, folder: Path, settings: Mapping[str, Any]) -> Any:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind = LOGGER_TYPE_TO_CLASS[name]
    where = {"logging_dir": str(folder / "logs")} if kind.requires_logging_directory else {}
    tracker = kind("fxprune", **where)
    tracker.start()
    tracker.store_init_configuration(_flat(settings))
    return tracker


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return numbers and texts by dotted names: ``{"losses": {"kl": 1.0}}`` gives ``{"losses/kl": 1.0}``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}/")
        elif isinstance(value, (list, tuple)):
            flat |= _flat({str(i): each for i, each in enumerate(value)}, f"{prefix}{name}/")
        elif isinstance(value, (bool, int, float, str)):
            flat[prefix + name] = value
    return flat
