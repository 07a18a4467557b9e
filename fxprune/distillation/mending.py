"""Repairs during distillation: after a cut, the student's weights are fitted to what it computed before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fxprune.distillation.batch import Batch
from fxprune.distillation.config import DistillConfig
from fxprune.passes import DropoutMode, run_passes
from fxprune.passes.pick_positions import POSITIONS, picks_positions
from fxprune.repair import Repairer, Repairs
from fxprune.student import Student
from fxprune.units import Kept


class Mender:
    """Repairs a student around its cuts: every `repair_interval`-th, those at snapshots, and the last one.

    Args:
        student: that is cut.
        config: settings.
        calibration: batches the repair is fitted to; none where the settings ask for no repair.
    """

    def __init__(self, student: Student, config: DistillConfig, calibration: Sequence[Batch] = ()) -> None:
        self.student, self.config, self.calibration = student, config, calibration
        self.repairer = Repairer(student.traced, student.groups)
        self.history: list[tuple[int, Repairs]] = []
        self._cuts = 0

    def around(self, step: int, cut: Callable[[Sequence[Callable[[Kept], None]]], bool], *, last: bool) -> bool:
        """Cut, and repair if it is time to.

        Args:
            step: of the run.
            cut: cuts, given more followers; returns whether it did.
            last: whether it ends the schedule, or leads to a snapshot.
        """
        due = bool(self.calibration) and (last or self._cuts % self.config.repair_interval == 0)
        was_cut = cut([self._remember] if due else [])
        self._cuts += was_cut
        if was_cut and due:
            self.history.append((step, self.repairer.repair([self._inputs(batch) for batch in self.calibration])))
            run_passes(self.student.traced, [DropoutMode(train=self.config.dropout)])
        return was_cut

    def errors(self, step: int) -> tuple[float, float] | None:
        """Return the held-out error of the weights before and after the repair of `step`, if there was one."""
        return next(((done.error(0), done.error(1)) for when, done in self.history[-1:] if when == step), None)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was repaired, in words."""
        if not self.history:
            return ()
        before, after = (
            sum(repairs.error(moment) for _, repairs in self.history) / len(self.history) for moment in (0, 1)
        )
        return (
            f"repaired after {len(self.history)} of {self._cuts} cuts: held-out error of the weights, on average, "
            f"{before:.4f} -> {after:.4f}",
        )

    def _remember(self, kept: Kept) -> None:
        run_passes(self.student.traced, [DropoutMode(train=False)])
        self.repairer.remember(kept)

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        picked = {POSITIONS: batch.labelled} if picks_positions(self.student.traced) else {}
        return {**batch.inputs, **picked}
