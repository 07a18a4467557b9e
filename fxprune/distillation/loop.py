"""One step of homotopic distillation: teacher and student forward, losses, scores, update, and now and then a cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor
from torch.nn.utils import clip_grads_with_norm_

from fxprune.distillation.accumulation import Accumulator, check_finite, gradient_norm
from fxprune.distillation.batch import Batch, parts_of_one
from fxprune.distillation.config import DistillConfig
from fxprune.distillation.cutter import Cutter
from fxprune.distillation.mending import Mender
from fxprune.distillation.microbatch import MicroBatch
from fxprune.distillation.objective import Objective
from fxprune.distillation.optimizer import make_optimizer
from fxprune.distillation.ranks import Ranks
from fxprune.distillation.taps import Taps
from fxprune.distillation.terms import Terms
from fxprune.distillation.waypoints import Waypoint
from fxprune.global_allocation import GlobalAllocation
from fxprune.passes import DropoutMode, run_passes
from fxprune.student import Student
from fxprune.traced import Traced
from fxprune.widths import Counts

if TYPE_CHECKING:
    from fxprune.distillation.discrepancy import Discrepancy


class Distiller:
    """Holds everything that changes from step to step.

    Args:
        teacher: dense and frozen.
        student: a copy of it, to be cut.
        taps: of both.
        objective: of both.
        final: units each group has at the end, or what spreads the budget at each cut.
        config: settings.
        ranks: the processes of the run, and their device.
        waypoints: sizes to rest at on the way, largest first.
        calibration: batches cuts are repaired on, the same in every process; none: they are not.
        starts_equal: whether the student computes what its teacher does until it is cut.
    """

    def __init__(
        self,
        teacher: Traced,
        student: Student,
        taps: Taps,
        objective: Objective,
        final: Counts | GlobalAllocation,
        config: DistillConfig,
        ranks: Ranks,
        *,
        waypoints: Sequence[Waypoint] = (),
        calibration: Sequence[Batch] = (),
        starts_equal: bool = True,
    ) -> None:
        self.teacher, self.student, self.objective = teacher, student, objective
        self.config, self.ranks = config, ranks
        self.cutter = Cutter(student, final, config, waypoints)
        self.mender = Mender(student, config, calibration)
        self.terms = Terms(teacher, student, taps, objective, config.loss, ranks.device, precision=config.precision)
        self.micro = MicroBatch(config.micro_batch, config.auto_batch, ranks.device)
        self.accumulate = Accumulator(teacher, student.traced, self.terms, ranks, self.micro)
        run_passes(teacher, [DropoutMode(train=False)])
        run_passes(student.traced, [DropoutMode(train=config.dropout)])
        self.optimizer = make_optimizer(student.traced, config)
        self.starts_equal = starts_equal
        self.watch: Discrepancy | None = None  # measures around cuts, if it is set
        self.jump: tuple[float, float] | None = None  # what it found in the last step
        self.done = 0

    # ------------------------------------------------------------------ one step

    def step(self, batch: Batch) -> tuple[dict[str, float], bool, float]:
        """Train on one batch; cut if the schedule says so. Returns (losses, whether cut, what is left of the way)."""
        step = self.done + 1
        losses = self._losses(batch)
        norm = gradient_norm(self.student.traced.parameters(), step)
        for feature_map in self.terms.maps.values():
            feature_map.keep()
        self.cutter.observe(step)
        self._update(norm)
        watch = self.watch if self.cutter.due(step) else None
        before = watch.at_a_cut() if watch else 0.0
        cut = self._cut(step)
        self.jump = (before, watch.at_a_cut()) if watch and cut else None
        self.done += 1
        return losses, cut, self.cutter.left(self.done)

    def _losses(self, batch: Batch) -> dict[str, float]:
        """Leave the gradient of the batch in the student; return the losses."""
        if self.terms.scales is None:
            self.terms.measure(self.teacher, batch.parts(self.config.micro_batch))
        # a student that still equals its teacher has no gradient yet
        probe = self.config.seed * 1_000_003 + self.done if self._is_equal() else None
        losses = self.accumulate(batch, probe)
        check_finite(losses, self.done + 1)
        return losses

    def _update(self, norm: Tensor) -> None:
        if not self._is_equal():
            clip_grads_with_norm_(self.student.traced.parameters(), self.config.clip, norm)
            rate = self.rate(self.done + 1)
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["scale"]
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def rate(self, step: int) -> float:
        """Linear warm-up, then linear decay to zero after the last step."""
        steps, warm = self.config.max_steps, max(1, round(self.config.warmup * self.config.max_steps))
        return self.config.learning_rate * min(step / warm, (steps + 1 - step) / max(steps + 1 - warm, 1))

    def _cut(self, step: int) -> bool:
        """Cut if it is time to, by the same scores in every process and to the same student; refit the maps."""
        if self.cutter.due(step):
            self.ranks.average(self.cutter.scores.tensors)
        maps = [each.cut for each in self.terms.maps.values()]
        cut = self.mender.around(
            step,
            lambda followers: self.cutter.cut(step, self.optimizer, [*maps, *followers]),
            last=self.cutter.arrives(step),
        )
        if cut and self.ranks.count > 1:
            self.ranks.check_same("what to cut", self.cutter.digest, step)
        if cut:
            self.micro.refresh()
        if self.cutter.was_cut and (cut or self.done % self.config.schedule.interval == 0):
            for feature_map in self.terms.maps.values():
                feature_map.refit(self.ranks.add)
        return cut

    def _is_equal(self) -> bool:
        """Tell whether all losses are zero still."""
        return self.terms.starts_at_zero and self.starts_equal and not self.cutter.was_cut

    # ------------------------------------------------------------------ evaluation

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Switch the dropout of the student off for a while."""
        if not self.config.dropout:  # it is off already
            yield
            return
        run_passes(self.student.traced, [DropoutMode(train=False)])
        try:
            yield
        finally:
            run_passes(self.student.traced, [DropoutMode(train=True)])

    @torch.no_grad()
    def evaluate(self, batches: Sequence[Batch]) -> dict[str, dict[str, float]]:
        """Return the mean of every term on held-out batches, for the teacher and the student."""
        sums: dict[str, float] = {}
        with self.evaluating():
            for batch in self.ranks.every(parts_of_one(batches)):
                for (who, name), value in self._held_out(batch.to(self.ranks.device)).items():
                    sums[f"{who} {name}"] = sums.get(f"{who} {name}", 0.0) + value
        found: dict[str, dict[str, float]] = {"teacher": {}, "student": {}}
        for key, value in self.ranks.total(sums).items():
            who, name = key.split()
            found[who][name] = value
        return found

    def _held_out(self, batch: Batch) -> dict[tuple[str, str], float]:
        teacher, student = self.terms.run(self.teacher, batch), self.terms.run(self.student.traced, batch)
        reached = self.terms.measures(self.student.traced, student, batch)
        found = {("student", name): float(v) for name, v in (self.terms(student, teacher, batch) | reached).items()}
        for name, value in self.terms.measures(self.teacher, teacher, batch).items():
            found["teacher", name] = float(value)
        return found


def generator_for(seed: int) -> Generator:
    """Return the generator of masks: on the CPU, so that every device sees the same."""
    return torch.Generator().manual_seed(seed)
