"""Repairs during distillation: after a cut, the student's weights are fitted to what it computed before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fxprune.distillation.batch import Batch
from fxprune.distillation.checkpoints.saved import Saved
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
        self._measured: list[tuple[int, float, float]] = []  # step, and held-out error before and after
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
            repairs = self.repairer.repair([self._inputs(batch) for batch in self.calibration])
            self.history.append((step, repairs))
            self._measured.append((step, repairs.error(0), repairs.error(1)))
            run_passes(self.student.traced, [DropoutMode(train=self.config.dropout)])
        return was_cut

    def errors(self, step: int) -> tuple[float, float] | None:
        """Return the held-out error of the weights before and after the repair of `step`, if there was one."""
        return next(((before, after) for when, before, after in self._measured[-1:] if when == step), None)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was repaired, in words."""
        if not self._measured:
            return ()
        count = len(self._measured)
        before, after = (sum(row[moment] for row in self._measured) / count for moment in (1, 2))
        return (
            f"repaired after {count} of {self._cuts} cuts: held-out error of the weights, on average, "
            f"{before:.4f} -> {after:.4f}",
        )

    def saved(self) -> Saved:
        """Return what was done, in numbers; the weights are those of the student."""
        return Saved({"cuts": self._cuts, "repairs": [list(row) for row in self._measured]})

    def restore(self, saved: Saved) -> None:
        """Put back what `saved` returned."""
        self._cuts = saved.integer("cuts")
        rows = [_row(saved, row) for row in saved.items("repairs", list)]
        self._measured = [(row.integer("step", 1), row.number("before"), row.number("after")) for row in rows]

    def _remember(self, kept: Kept) -> None:
        run_passes(self.student.traced, [DropoutMode(train=False)])
        self.repairer.remember(kept)

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        picked = {POSITIONS: batch.labelled} if picks_positions(self.student.traced) else {}
        return {**batch.inputs, **picked}


def _row(saved: Saved, row: list[Any]) -> Saved:
    if len(row) != 3:
        raise saved.wrong(f"a repair has {len(row)} numbers")
    return Saved(dict(zip(("step", "before", "after"), row, strict=True)), within=saved.within)
