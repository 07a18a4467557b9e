"""A run that leaves a family: a complete folder for each size on the way, and one table of all."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from fxprune.cli import render
from fxprune.deploy.outputs import LatencySettings, Outputs, write_outputs
from fxprune.distillation.report import Snapshot
from fxprune.distillation.waypoints import folder_name


@dataclass(slots=True)
class Family:
    """Writes snapshots beside the result.

    Attributes:
        folder: of the run; each size gets a folder of its own in it.
        tokenizer: saved beside each model.
        latency: where each is timed; None: not at all.
        facts: of the run.
    """

    folder: Path
    tokenizer: Any
    latency: LatencySettings | None
    facts: Mapping[str, Any]
    written: dict[str, tuple[Snapshot, Outputs]] = field(default_factory=dict)

    def write(self, snapshot: Snapshot) -> None:
        """Write one size in every form."""
        assert snapshot.student is not None, "only what is written is given away"
        render.say(
            f"snapshot {snapshot.name} at step {snapshot.step}: {snapshot.student.num_parameters():,} parameters"
        )
        outputs = write_outputs(
            snapshot.student,
            self.folder / snapshot.name,
            tokenizer=self.tokenizer,
            latency=self.latency,
            facts={**self.facts, "snapshot": snapshot.name, "step": snapshot.step, "losses": snapshot.held_out},
        )
        self.written[snapshot.name] = (replace(snapshot, student=None), outputs)

    def finish(self, sizes: tuple[int | str, ...], final: Outputs) -> None:
        """Copy the result to the folder of its size, if that was asked for too."""
        for name in map(folder_name, sizes):
            if name not in self.written:
                for file in final.files:
                    target = self.folder / name / file.relative_to(final.folder)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(file, target)

    def failures(self) -> dict[str, str]:
        """Return what could not be written, by size and form."""
        return {
            f"{name}, {stage}": reason
            for name, (_, outputs) in self.written.items()
            for stage, reason in outputs.failures.items()
        }

    def table(self) -> Table:
        """Return sizes and losses of all snapshots."""
        terms = list(dict.fromkeys(term for shot, _ in self.written.values() for term in shot.held_out["student"]))
        table = Table(title="snapshots on the way, losses on held-out text")
        for heading in ("folder", "step", "parameters", *terms):
            table.add_column(heading, justify="left" if heading == "folder" else "right")
        for name, (shot, _) in self.written.items():
            losses = [f"{shot.held_out['student'].get(term, float('nan')):.3f}" for term in terms]
            table.add_row(str(self.folder / name), str(shot.step), f"{shot.params:,}", *losses)
        return table
