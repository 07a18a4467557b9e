"""A run from its first step to its result, or to where it cannot go on."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from fxprune.distillation.accumulation import NotANumberError, is_out_of_memory
from fxprune.distillation.batch import Batch
from fxprune.distillation.feeding import OutOfTextError
from fxprune.distillation.finishing import finished, handed_out
from fxprune.distillation.loop import Distiller
from fxprune.distillation.notes import StartReport
from fxprune.distillation.report import DistillResult, Snapshot, StepReport
from fxprune.distillation.rescue import UnfinishedError, bring_back, is_sound, remember
from fxprune.distillation.stream import Stream
from fxprune.errors import DistillError, FxpruneError
from fxprune.forecast import flops_of
from fxprune.hub import first_line


@dataclass(slots=True)
class Run:
    """A run from its first step to its result.

    Attributes:
        distiller: what changes from step to step.
        batches: to train on, without end.
        held_out: batches the result is measured on.
        start: what was known before the first step.
        examples: inputs the model was captured with.
        history: every step so far.
        seconds: they took.
    """

    distiller: Distiller
    batches: Stream
    held_out: list[Batch]
    start: StartReport
    examples: Mapping[str, Tensor]
    history: list[StepReport] = field(default_factory=list)
    seconds: float = 0.0
    _sound: int = 0
    _counted: int | None = None

    def steps(self) -> Iterator[StepReport]:
        """Train, and tell each step; a run that goes on tells those that are left."""
        for step in range(self.distiller.done + 1, self.distiller.config.max_steps + 1):
            began = time.monotonic()
            try:
                report = self._step(step)
            except (NotANumberError, OutOfTextError) as error:
                raise self._unfinished(error, step) from error
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                raise _no_memory(error, step) from error
            self.history.append(report)
            self.seconds += time.monotonic() - began
            yield report

    def _step(self, step: int) -> StepReport:
        batch = next(self.batches)
        began = time.monotonic()
        losses, cut, left = self.distiller.step(batch)
        return StepReport(
            step=step,
            steps=self.distiller.config.max_steps,
            params=self.distiller.student.traced.num_parameters(),
            losses=losses,
            cut=cut,
            ratio=left,
            tokens_per_second=batch.size / (time.monotonic() - began),
            learning_rate=self.distiller.rate(step),
            flops=self._flops(cut=cut),
            discrepancy=self._discrepancy(step),
            jump=self.distiller.jump,
            repaired=self.distiller.mender.errors(step),
        )

    def _flops(self, *, cut: bool) -> int | None:
        """Return the FLOPs of one row of text, counted anew if the student was cut."""
        if cut or self.distiller.done == 1:
            student = self.distiller.student
            self._counted = flops_of(student.traced, student.groups, self.distiller.config.length)
        return self._counted

    def _discrepancy(self, step: int) -> float | None:
        """Measure after the first step, the last, and now and then."""
        config, watch = self.distiller.config, self.distiller.watch
        due = watch is not None and (step in (1, config.max_steps) or step % config.evaluation_interval == 0)
        found = watch() if watch is not None and due else None
        if found is not None and math.isfinite(found):
            remember(self.distiller.optimizer)
            self._sound = step
        return found

    def goes_on(self, history: list[StepReport], seconds: float) -> None:
        """Take over what an earlier process has told; its student is in place."""
        self.history, self.seconds = history, seconds
        self._counted = history[-1].flops
        remember(self.distiller.optimizer)
        self._sound = history[-1].step

    def snapshot(self, step: StepReport) -> Snapshot | None:
        """Return the student as it is after `step`, if it has rested at a waypoint; the run goes on."""
        waypoint = self.distiller.cutter.rested(step.step)
        if waypoint is None:
            return None
        return Snapshot(
            name=waypoint.name,
            step=step.step,
            params=step.params,
            student=handed_out(self.distiller),
            held_out=self.distiller.evaluate(self.held_out),
        )

    def _unfinished(self, error: NotANumberError | OutOfTextError, step: int) -> FxpruneError:
        """Save what can be saved."""
        measured, weights_of = self.distiller.evaluate(self.held_out), step - 1
        if not is_sound(measured) and bring_back(self.distiller.optimizer):
            measured, weights_of = self.distiller.evaluate(self.held_out), self._sound
        if not is_sound(measured):
            return error
        return UnfinishedError(error, step, weights_of, self.result(measured))

    def result(self, measured: Mapping[str, Mapping[str, float]] | None = None) -> DistillResult:
        """Measure the student, finish it and hand it out; the run is over then."""
        measured = measured or self.distiller.evaluate(self.held_out)
        student = finished(self.distiller, self.examples)
        return DistillResult(
            student=student,
            teacher_params=self.start.teacher_params,
            student_params=student.num_parameters(),
            teacher_flops=self.start.teacher_flops,
            student_flops=flops_of(student, self.distiller.student.groups, self.distiller.config.length),
            held_out=measured,
            objective=self.start.objective,
            notes=(*self.start.notes, *self.distiller.mender.notes),
            history=tuple(self.history),
            seconds=self.seconds,
        )


def _no_memory(error: Exception, step: int) -> DistillError:
    return DistillError(
        f"there is not enough memory for step {step}",
        cause=first_line(error),
        remedy="use a smaller --micro-batch or --length, or more memory",
    )
