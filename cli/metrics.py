"""The metrics of a run, in its output folder, from its first step on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fxprune.deploy.output_folder import begin_outputs
from fxprune.distillation.checkpoints.keeper import writing
from fxprune.distillation.checkpoints.storage import JOURNAL
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

    def begin(self, history: Iterable[StepReport] = ()) -> None:
        """Take the folder over: the run is known to be possible.

        Args:
            history: the steps a run that goes on has done.
        """
        if self.ranks.main:
            with writing(self.folder, "the metrics"):
                path = begin_outputs(self.folder, self.facts)
                settings = self.facts["settings"]
                self._recorder = Recorder(path, settings["log_with"], settings, history)

    def write(self, step: StepReport) -> None:
        """Write one step."""
        if self._recorder is not None:
            with writing(self.folder, "the metrics"):
                self._recorder.write(step)

    @property
    def files(self) -> list[Path]:
        """What was written, with the journal beside it."""
        return [] if self._recorder is None else [self._recorder.path, self.folder / JOURNAL]

    def __enter__(self) -> Metrics:
        return self

    def __exit__(self, *_: object) -> None:
        if self._recorder is not None:
            with writing(self.folder, "the metrics"):
                self._recorder.close()
