"""What a run says before its first step: sizes, objective, and what it decided by itself."""

from __future__ import annotations

from dataclasses import dataclass

from fxprune.distillation.config import DistillConfig
from fxprune.distillation.feeding import by_sentence
from fxprune.distillation.objective import FEATURES, Objective
from fxprune.distillation.report import StepReport
from fxprune.distillation.taps import Taps
from fxprune.student import Student

_SIGHTS = {
    "hidden": "residual stream that leaves a numbered block",
    "embedding": "residual stream that enters a first block",
    "attention": "attention whose scores it could tell",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReport:
    """What is known before the first step; of a run that goes on, with the steps it has done."""

    teacher_params: int
    teacher_flops: int | None  # at batch 1 and the length of training; None where they depend on data
    student_params: int | None  # as planned, or at most; None where a global allocation counts FLOPs
    objective: str
    notes: tuple[str, ...]
    history: tuple[StepReport, ...] = ()


def notes_on(
    objective: Objective, student: Student, taps: Taps, config: DistillConfig, *, plain: bool = True
) -> tuple[str, ...]:
    """Return the decisions of the run, in words."""
    notes = []
    if objective.name == FEATURES and any(tap.output for tap in taps.hidden):
        notes.append(
            "distilled on how similar the features are that the model returns, and on hidden, embedding and attention "
            "terms; the output features shrink with it"
        )
    elif objective.name == FEATURES:
        notes.append(
            "distilled on hidden, embedding and attention terms; nothing trains the layers that make predictions, so "
            "train them afterwards"
        )
    if not objective.labelled:
        notes.append("the data set has no labels: predictions are only compared with the teacher's")
    missing = {"hidden": taps.hidden, "embedding": taps.embedding, "attention": taps.attention}
    for term in [name for name, found in missing.items() if getattr(config.loss, name) and not found]:
        notes.append(f"no {term} term: the graph shows no {_SIGHTS[term]}")
    if plain and objective.pixels is None and by_sentence(config, objective):
        notes.append("trained on single sentences, as its users give them")
    if student.traced.provenance.rung != "named":
        notes.append(f"captured with {student.traced.provenance.rung} sizes")
    if not config.loadable:
        notes.append("widths are free: the result need not load as its Hugging Face class")
    return tuple(notes)
