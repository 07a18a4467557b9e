"""What goes, and when: the schedule of a run, the scores units are ranked by, and the cut itself."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from fxprune.distillation.checkpoints.saved import Saved, by_prefix
from fxprune.distillation.config import DistillConfig
from fxprune.distillation.waypoints import Way, Waypoint
from fxprune.global_allocation import GlobalAllocation
from fxprune.importance import score_called
from fxprune.schedule import cubic, linear
from fxprune.silencing import all_places, reviving_places, silence
from fxprune.smoothing import smoothing_for
from fxprune.student import Student
from fxprune.unit_scores import UnitScorer, UnitScores
from fxprune.units import Kept
from fxprune.widths import Counts


class Cutter:
    """Narrows a student as its schedule says.

    Units to go are cut out at every step of the schedule, or (`rewrite_every`) zeroed in place until the next rewrite.
    With `revive` the zeroed ones keep training, from one step of the schedule to the next, and all are ranked anew.

    Args:
        student: to be cut.
        final: units each group has at the end, or what spreads the budget at each cut.
        config: settings.
        waypoints: sizes to rest at on the way, largest first.
    """

    def __init__(
        self,
        student: Student,
        final: Counts | GlobalAllocation,
        config: DistillConfig,
        waypoints: Sequence[Waypoint] = (),
    ) -> None:
        self.student, self.final, self.config = student, final, config
        names = final.dense if isinstance(final, GlobalAllocation) else final
        self.dense = {name: student.groups[name].size for name in names}
        self.way = Way(self.dense, names, waypoints)
        self.stop: Waypoint | None = None  # where the student rests, or rested last
        self.rests_until = 0
        self.arrived = False
        self.scorer = UnitScorer(student.groups, per_matrix=config.per_matrix)
        self.scores = smoothing_for(config.importance, config.smoothing)
        self.silent: dict[str, Tensor] = {}  # which units of now stay, where others are zeroed until the next rewrite
        self.evidence = ""  # hash of the scores the last cut followed
        self._places = all_places(student.groups), reviving_places(student.groups)

    # ------------------------------------------------------------------ when

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last step with a cut."""
        return self.config.schedule.span(self.config.max_steps)

    def left(self, step: int) -> float:
        """Return what is left of the way to the target, by the schedule: 1 dense, 0 there."""
        start, end = self.span
        way = linear if self.config.schedule.kind == "linear" else cubic
        return way(step, start, end) if start < end else float(step < start)

    def due(self, step: int) -> bool:
        """Tell whether the schedule cuts at `step`: a rest at a waypoint puts off what is due."""
        start, end = self.span
        if self.arrived or step <= self.rests_until:
            return False
        late = step > end and self.stop is not None
        return step == end or late or (start <= step < end and (step - start) % self.config.schedule.interval == 0)

    def rewrites(self, step: int) -> bool:
        """Tell whether what is to go is cut out at `step`: every few cuts, at waypoints and at the end."""
        every, (start, _) = self.config.schedule.rewrites, self.span
        if not every:
            return step == self.config.max_steps
        nth = (step - start) // self.config.schedule.interval + 1
        return self.due(step) and (self.arrives(step) or nth % every == 0)

    def arrives(self, step: int) -> bool:
        """Tell whether a cut at `step` leads to a waypoint or the target."""
        left = self.left(step)
        return left == 0.0 or self.way.stops(left)

    def rested(self, step: int) -> Waypoint | None:
        """Return the waypoint at which the student has rested long enough after `step`."""
        return self.stop if step == self.rests_until else None

    @property
    def was_cut(self) -> bool:
        """Whether the student computes with fewer units than its teacher."""
        return bool(self.silent) or any(self.student.groups[name].size < size for name, size in self.dense.items())

    @property
    def digest(self) -> str:
        """Hash of all that was cut or zeroed."""
        masks = "".join(f"{name}{self.silent[name].tolist()}" for name in sorted(self.silent))
        return f"{self.student.plan.digest}-{zlib.crc32(masks.encode()):08x}"

    # ------------------------------------------------------------------ what

    def observe(self, step: int) -> None:
        """Score the units on the gradients of this step, while there are cuts to come."""
        if not self.arrived:
            self.scores.update(self.scorer(self.student.traced, score_called(self.config.importance).of_weights))

    def cut(self, step: int, optimizer: Optimizer, followers: Sequence[Callable[[Kept], None]] = ()) -> bool:
        """Do what the schedule asks for after the update of `step`; return whether units went.

        Args:
            step: from 1.
            optimizer: its state is cut along.
            followers: told what stays at each rewrite.
        """
        due, rewrites = self.due(step), self.rewrites(step)
        masks = self._ranked(self._advance(step)) if due else self.silent
        if rewrites:
            self.student.cut(masks, (optimizer,), followers)
            self.scores.cut(masks, self.student.groups.ragged)
            self.silent = {}
            return bool(masks)
        self.silent = masks
        if due or not self._trains_on():
            self._silence(reviving=self._trains_on())
        return due and bool(masks)

    def _advance(self, step: int) -> float:
        """Return what of the way is left after a cut at `step`, which ends at the next waypoint."""
        left = self.left(step)
        self.stop = self.way.next_stop(left)
        if self.stop is not None:
            left, self.rests_until = self.stop.left, step + self.config.rest
        self.arrived = left == 0.0
        return left

    def _ranked(self, left: float) -> dict[str, Tensor]:
        """Return which units of now stay; without revival, those that are zeroed do not come back."""
        scores = self.scores.value
        self.evidence = _hash(scores)
        if not self.config.schedule.revive:
            scores = {name: _last(score, self.silent.get(name)) for name, score in scores.items()}
        return self.student.best(self._counts(left, scores), scores)

    def _counts(self, left: float, scores: UnitScores) -> Counts:
        """Return how many units stay: on the way to widths that are known, or those the scores choose for a budget."""
        if not isinstance(self.final, GlobalAllocation):
            return self.way.counts(left)
        present = {name: int(mask.sum(-1).max()) for name, mask in self.silent.items()}
        at_most = {} if self.config.schedule.revive else present
        return self.final.counts(scores, left, at_most, stay=self.stop is not None)

    # ------------------------------------------------------------------ between two steps

    def saved(self) -> Saved:
        """Return where it is on its way, and what is zeroed; the scores are in `saved_scores`."""
        aim = self.final.aim if isinstance(self.final, GlobalAllocation) else {}
        ahead, resting = len(self.way.ahead), self.stop is not None
        where = {"arrived": self.arrived, "rests_until": self.rests_until, "ahead": ahead, "resting": resting}
        return Saved({**where, "aim": aim}, {name: mask.clone() for name, mask in self.silent.items()})

    def saved_scores(self) -> Saved:
        """Return the running averages, which are those of this process."""
        found: dict[str, Tensor] = {}
        for kind, average in self.scores.averages.items():
            found |= by_prefix(kind, average)
        return Saved({kind: {} for kind in self.scores.averages}, found)

    def restore(self, saved: Saved) -> None:
        """Put back what `saved` returned, once the student is cut as it was."""
        self.arrived, self.rests_until = saved.flag("arrived"), saved.integer("rests_until")
        passed = len(self.way.ahead) - saved.integer("ahead", 0, len(self.way.ahead))
        before = [self.way.ahead.pop(0) for _ in range(passed)]
        self.stop = before[-1] if saved.flag("resting") and before else None
        self.silent = {name: saved.tensor(name, self._shape(saved, name), torch.bool) for name in saved.tensors}
        if isinstance(self.final, GlobalAllocation):
            aim = saved.part("aim")
            self.final.aim = {name: aim.integer(name, 1, self.dense.get(name, 0)) for name in aim.data}

    def restore_scores(self, saved: Saved) -> None:
        """Put back what `saved_scores` returned, once the student is cut as it was."""
        for kind, average in self.scores.averages.items():
            part = saved.part(kind)
            average.update({name: part.tensor(name, self._shape(part, name)) for name in part.tensors})

    def _shape(self, saved: Saved, name: str) -> tuple[int, ...]:
        groups = self.student.groups
        if name not in groups or groups[name].frozen is not None:
            raise saved.wrong(f"there is no group {name!r}")
        outer = groups.ragged.get(name)
        return (groups[name].size,) if outer is None else (groups[outer].size, groups[name].size)

    def _trains_on(self) -> bool:
        """Tell whether zeroed units may return: until the target is reached."""
        return self.config.schedule.revive and not self.arrived

    def _silence(self, *, reviving: bool) -> None:
        kept = self.student.ledger.kept(self.silent)
        silence(self.student.traced, self.student.groups, kept, self._places[reviving])


def _hash(scores: UnitScores) -> str:
    found = hashlib.sha256()
    for name in sorted(scores):
        found.update(name.encode())
        found.update(scores[name].contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def _last(score: Tensor, stays: Tensor | None) -> Tensor:
    """Rank what does not stay below all others."""
    return score if stays is None else torch.where(stays, score, score.min() - 1)
