"""What goes, and when: the schedule of a run, the scores units are ranked by, and the cut itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch.optim import Optimizer

from fxprune.distillation.config import DistillConfig
from fxprune.importance import weight_score
from fxprune.schedule import counts_at, cubic, linear
from fxprune.smoothing import smoothing_for
from fxprune.student import Student
from fxprune.unit_scores import UnitScorer
from fxprune.units import Kept
from fxprune.widths import Counts


class Cutter:
    """Narrows a student as its schedule says.

    Args:
        student: to be cut.
        final: units each group has at the end.
        config: settings.
    """

    def __init__(self, student: Student, final: Counts, config: DistillConfig) -> None:
        self.student, self.final, self.config = student, final, config
        self.dense = {name: student.groups[name].size for name in final}
        self.scorer = UnitScorer(student.groups, per_matrix=config.per_matrix)
        self.scores = smoothing_for(config.importance, config.smoothing)

    # ------------------------------------------------------------------ when

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last step with a cut."""
        schedule, steps = self.config.schedule, self.config.max_steps
        start = min(max(1, round(schedule.start * steps)), steps)
        if schedule.kind == "one-shot":
            return start, start
        return start, max(start, min(round(schedule.end * steps), steps))

    def left(self, step: int) -> float:
        """Return what is left of the way to the target: 1 dense, 0 there."""
        start, end = self.span
        way = linear if self.config.schedule.kind == "linear" else cubic
        return way(step, start, end) if start < end else float(step < start)

    def due(self, step: int) -> bool:
        """Tell whether the schedule cuts at `step`."""
        start, end = self.span
        return step == end or (start <= step < end and (step - start) % self.config.schedule.interval == 0)

    @property
    def was_cut(self) -> bool:
        """Whether the student is narrower than its teacher."""
        return any(self.student.groups[name].size < size for name, size in self.dense.items())

    # ------------------------------------------------------------------ what

    def observe(self, step: int) -> None:
        """Score the units on the gradients of this step, while there are cuts to come."""
        if step <= self.span[1]:
            self.scores.update(self.scorer(self.student.traced, weight_score(self.config.importance)))

    def cut(self, step: int, optimizer: Optimizer, followers: Sequence[Callable[[Kept], None]] = ()) -> bool:
        """Cut if it is time to, with the state of `optimizer`; return whether anything was cut."""
        if not self.due(step):
            return False
        counts = counts_at(self.left(step), self.dense, self.final)
        masks = self.student.cut_to(counts, self.scores.value, (optimizer,), followers)
        self.scores.cut(masks, self.student.groups.ragged)
        return bool(masks)
