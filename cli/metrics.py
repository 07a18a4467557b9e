"""The metrics of a run, in its output folder, from its first step on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fxprune.deploy.outputs import begin_outputs
from fxprune.distillation.ranks import Ranks
from fxprune.distillation.report import StepReport
from fxprune.distillation.tracking import Recorder


class Metrics:
    """Writes every step of a run, in the first process.

    Args:
        folder: of all results; nothing in it is touched before the first step.
        facts: of the run, with its settings.
        ranks: the processes.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any], ranks: Ranks) -> None:
        self.folder, self.facts, self.ranks = folder, facts, ranks
        self._recorder: Recorder | None = None

    def begin(self) -> None:
        """Take the folder over: the run is known to be possible."""
        if self.ranks.main:
            path = begin_outputs(self.folder, self.facts)
            settings = self.facts["settings"]
            self._recorder = Recorder(path, settings["log_with"], settings)

    def write(self, step: StepReport) -> None:
        """Write one step."""
        if self._recorder is not None:
            self._recorder.write(step)

    @property
    def files(self) -> list[Path]:
        """What was written."""
        return [] if self._recorder is None else [self._recorder.path]

    def __enter__(self) -> Metrics:
        return self

    def __exit__(self, *_: object) -> None:
        if self._recorder is not None:
            self._recorder.close()
