"""What a distillation run tells: step by step, and at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fxprune.traced import Traced


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One optimizer step.

    Attributes:
        step: from 1.
        steps: of the whole run.
        params: of the student after the step.
        losses: the total and each term, unweighted, in nats (task, kl) or relative squared error (the others).
        cut: whether units went in this step: cut out, or zeroed until the next rewrite.
        ratio: fraction of the way to the target that the schedule asks for (1 = dense, 0 = target).
        repaired: held-out error of the weights before and after a repair in this step; None: there was none.
        tokens_per_second: of this step, in all processes.
        learning_rate: of the matrices.
        flops: of the matrix products of the student after the step, for one row of `length` tokens; None if unknown.
        discrepancy: KL to the teacher on held-out text in nats, or the relative error of its features without a head,
            after the step; None in most steps.
        jump: the same on fewer rows right before and after a cut, and what follows it.
    """

    step: int
    steps: int
    params: int
    losses: Mapping[str, float]
    cut: bool
    ratio: float
    tokens_per_second: float
    repaired: tuple[float, float] | None = None
    learning_rate: float = 0.0
    flops: int | None = None
    discrepancy: float | None = None
    jump: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The student at one size on the way.

    Attributes:
        name: of its size, fit for a folder.
        step: after which it was looked at.
        params: of it.
        student: a copy; the run goes on with its own.
        held_out: as in `DistillResult`.
    """

    name: str
    step: int
    params: int
    student: Traced
    held_out: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillResult:
    """A finished run.

    Attributes:
        student: the slim model.
        teacher_params: of the dense model.
        student_params: of the slim one.
        teacher_flops, student_flops: at batch 1 and the length of training; None where they depend on data.
        held_out: name -> value on held-out rows, for the teacher and the student: cross-entropy of words or classes in
            nats ("task"; of a regression the squared error), KL to the teacher in nats ("kl"; of a regression half the
            squared error), relative feature error ("hidden"), share of classes that are right ("accuracy").
        objective: as `Objective.name`.
        notes: decisions the run took by itself, in words.
        history: every step.
        seconds: wall-clock of the loop.
    """

    student: Traced
    teacher_params: int
    student_params: int
    teacher_flops: int | None
    student_flops: int | None
    held_out: Mapping[str, Mapping[str, float]]
    objective: str
    notes: tuple[str, ...]
    history: tuple[StepReport, ...]
    seconds: float
