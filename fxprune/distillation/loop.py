"""One step of homotopic distillation: teacher and student forward, losses, scores, update, and now and then a cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from accelerate import Accelerator
from torch import Generator, Tensor

from fxprune.distillation.config import DistillConfig
from fxprune.distillation.cutter import Cutter
from fxprune.distillation.objective import FEATURES, Batch, Objective
from fxprune.distillation.optimizer import make_optimizer
from fxprune.distillation.taps import Taps
from fxprune.distillation.terms import Terms
from fxprune.distillation.waypoints import Waypoint
from fxprune.errors import DistillError
from fxprune.passes import DropoutMode, run_passes
from fxprune.student import Student
from fxprune.traced import Traced
from fxprune.widths import Counts


class Distiller:
    """Holds everything that changes from step to step.

    Args:
        teacher: dense and frozen.
        student: a copy of it, to be cut.
        taps: of both.
        objective: of both.
        final: units each group has at the end.
        config: settings.
        accelerator: device and backward.
        waypoints: sizes to rest at on the way, largest first.
        starts_equal: whether the student computes what its teacher does until it is cut.
    """

    def __init__(
        self,
        teacher: Traced,
        student: Student,
        taps: Taps,
        objective: Objective,
        final: Counts,
        config: DistillConfig,
        accelerator: Accelerator,
        *,
        waypoints: Sequence[Waypoint] = (),
        starts_equal: bool = True,
    ) -> None:
        self.teacher, self.student, self.objective = teacher, student, objective
        self.config, self.accelerator = config, accelerator
        self.cutter = Cutter(student, final, config, waypoints)
        self.terms = Terms(teacher, student, taps, objective, config.loss, accelerator.device)
        run_passes(teacher, [DropoutMode(train=False)])
        run_passes(student.traced, [DropoutMode(train=config.dropout)])
        self.optimizer = make_optimizer(student.traced, config)
        self.starts_equal = starts_equal
        self.done = 0

    # ------------------------------------------------------------------ one step

    def step(self, batch: Batch) -> tuple[dict[str, float], bool, float]:
        """Train on one batch; cut if the schedule says so. Returns (losses, whether cut, what is left of the way)."""
        losses: dict[str, float] = {}
        for part, share in batch.parts(self.config.micro_batch):
            for name, value in self._accumulate(part, share).items():
                losses[name] = losses.get(name, 0.0) + share * value
        self.cutter.observe(self.done + 1)
        self._update()
        cut = self.cutter.cut(self.done + 1, self.optimizer, [each.cut for each in self.terms.maps.values()])
        if self.cutter.was_cut and (cut or self.done % self.config.schedule.interval == 0):
            for feature_map in self.terms.maps.values():
                feature_map.refit()
        self.done += 1
        return losses, cut, self.cutter.left(self.done)

    def _accumulate(self, batch: Batch, share: float) -> dict[str, float]:
        """Add `share` of the gradient of one part of a batch; return its losses."""
        with torch.no_grad():
            teacher = self.terms.run(self.teacher, batch)
        student = self.terms.run(self.student.traced, batch)
        terms = self.terms(student, teacher, batch)
        total = self.terms.total(terms)
        self._check(total, terms)
        # a student that still equals its teacher has no gradient yet
        self.accelerator.backward((self.terms.probe(student) if self._is_equal() else total) * share)
        return {"total": float(total.detach()), **{name: float(value.detach()) for name, value in terms.items()}}

    def _update(self) -> None:
        if not self._is_equal():
            self.accelerator.clip_grad_norm_(self.student.traced.parameters(), self.config.clip)
            rate = self._rate(self.done + 1)
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["scale"]
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _rate(self, step: int) -> float:
        """Linear warm-up, then linear decay to zero after the last step."""
        steps, warm = self.config.max_steps, max(1, round(self.config.warmup * self.config.max_steps))
        return self.config.learning_rate * min(step / warm, (steps + 1 - step) / max(steps + 1 - warm, 1))

    def _is_equal(self) -> bool:
        """Tell whether all losses are zero still; a task with labels is never at zero."""
        return self.objective.name == FEATURES and self.starts_equal and not self.cutter.was_cut

    def _check(self, total: Tensor, terms: Mapping[str, Tensor]) -> None:
        if not bool(torch.isfinite(total)):
            bad = next((name for name, value in terms.items() if not bool(torch.isfinite(value))), "total")
            raise DistillError(
                f"the {bad} loss is {float(total.detach())} at step {self.done + 1}", remedy="lower --learning-rate"
            )

    # ------------------------------------------------------------------ evaluation

    @torch.no_grad()
    def evaluate(self, batches: list[Batch]) -> dict[str, dict[str, float]]:
        """Return the mean of every term on held-out batches, for the teacher and the student."""
        sums: dict[str, dict[str, float]] = {"teacher": {}, "student": {}}
        run_passes(self.student.traced, [DropoutMode(train=False)])
        rows = sum(len(batch.inputs["input_ids"]) for batch in batches)
        for batch in batches:
            share = len(batch.inputs["input_ids"]) / rows  # the last one may be smaller
            teacher, student = self.terms.run(self.teacher, batch), self.terms.run(self.student.traced, batch)
            for name, value in self.terms(student, teacher, batch).items():
                sums["student"][name] = sums["student"].get(name, 0.0) + float(value) * share
            if self.objective.logits is not None and batch.labels is not None:
                value = self.terms.task_of(self.teacher, teacher, batch)
                sums["teacher"]["task"] = sums["teacher"].get("task", 0.0) + float(value) * share
        run_passes(self.student.traced, [DropoutMode(train=self.config.dropout)])
        return sums


def generator_for(seed: int) -> Generator:
    """Return the generator of masks: on the CPU, so that every device sees the same."""
    return torch.Generator().manual_seed(seed)
