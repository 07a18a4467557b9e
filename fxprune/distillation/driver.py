"""A run driven to its end: its steps told, its snapshots handed out, its checkpoints written; or stopped when asked."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from fxprune.distillation.checkpoints.keeper import Keeper
from fxprune.distillation.course import Run
from fxprune.distillation.report import Snapshot, StepReport
from fxprune.errors import DataError, DistillError


class StoppedError(DistillError):
    """A run that was asked to stop, and may go on later.

    Args:
        number: of the signal.
        step: the last one that was finished.
        keeper: wrote a checkpoint then; None: nothing is kept.
    """

    def __init__(self, number: int, step: int, keeper: Keeper | None) -> None:
        folder = None if keeper is None else keeper.keeping.folder
        super().__init__(
            f"stopped by {signal.Signals(number).name} after step {step}",
            cause=None if keeper is None else f"a checkpoint is in '{keeper.root / f'step-{step}'}'",
            remedy=None if folder is None else f"go on with: fxprune distill --resume {folder}",
        )
        self.step, self.exit_code = step, 128 + number


@dataclass(slots=True, kw_only=True)
class Driver:
    """Drives a run.

    Attributes:
        run: prepared.
        keeper: of its checkpoints; None: nothing is kept.
        on_step: called after each step.
        on_snapshot: called at each size on the way, once the student has rested there.
        stop: returns the number of the signal that asks to stop, if one did.
    """

    run: Run
    keeper: Keeper | None = None
    on_step: Callable[[StepReport], None] | None = None
    on_snapshot: Callable[[Snapshot], None] | None = None
    stop: Callable[[], int | None] | None = None

    def to_the_end(self) -> None:
        """Train until the last step.

        Raises:
            StoppedError: asked to stop.
            DataError: the data cannot be read any further; what was trained is kept.
        """
        try:
            for step in self.run.steps():
                self._after(step)
        except DataError:
            if self.keeper is not None and self.run.distiller.ranks.count == 1:
                self.keeper.write()  # reading failed before the step began
            raise
        if self.keeper is not None:
            self.keeper.write()

    def _after(self, step: StepReport) -> None:
        keeper = self.keeper
        if self.on_step is not None:
            self.on_step(step)
        if keeper is not None:
            keeper.note(step)
        taken = self._snapshot(step)
        number, due = self._asked(step)
        if keeper is not None and (taken or number or due):
            keeper.write(snapshot=taken)
        if number:
            raise StoppedError(number, step.step, keeper)

    def _snapshot(self, step: StepReport) -> bool:
        """Hand the student out, if it is time to."""
        if self.on_snapshot is None or (taken := self.run.snapshot(step)) is None:
            return False
        self.on_snapshot(taken)
        self.run.distiller.ranks.wait()
        return True

    def _asked(self, step: StepReport) -> tuple[int, bool]:
        """Return the signal to stop at, or 0, and whether a checkpoint is due: the same in every process."""
        number = (self.stop and self.stop()) or 0
        due = self.keeper is not None and self.keeper.due(step.step)
        found = self.run.distiller.ranks.gather((number, due))
        return max(each for each, _ in found), found[0][1]
