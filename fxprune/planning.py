"""Planning: how many units each group keeps, and which, from a target and a score."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import Tensor, nn
from torch.export import ExportedProgram

from fxprune import tracing
from fxprune.errors import ScoreError
from fxprune.goal import Goal
from fxprune.importance import score_called
from fxprune.rescaling.unabsorbed import unabsorbed
from fxprune.student import Student
from fxprune.traced import Traced
from fxprune.unit_scores import UnitScorer, UnitScores, random_units
from fxprune.widths import Constraints, Counts

if TYPE_CHECKING:
    from fxprune.latency import LatencyPlan

Loss: TypeAlias = Callable[[Any], Tensor]


def counts_for(
    student: Student, goal: Goal | None = None, *, limits: Constraints, scores: UnitScores | None = None, **fields: Any
) -> Counts:
    """Return how many units each group keeps for a goal, or for one of these fields (``target_params="25%"``)."""
    goal = goal or Goal(**fields)
    return goal.counts(student.traced, student.groups, limits, scores)


def chosen_for(
    student: Student,
    goal: Goal,
    limits: Constraints,
    importance: str,
    loss: Loss | None,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Counts, UnitScores]:
    """Return how many units each group keeps for a goal, and the scores that say which."""
    examples = student.traced.meta["origin"].example_kwargs
    if goal.times:
        return plan_latency(student, goal, limits, say).counts, scores_for(student, importance, loss, examples)
    if goal.allocation == "uniform":  # a target out of reach is told before anything is computed
        return counts_for(student, goal, limits=limits), scores_for(student, importance, loss, examples)
    scores = scores_for(student, importance, loss, examples)
    return counts_for(student, goal, limits=limits, scores=scores), scores


def plan_latency(
    student: Student, goal: Goal, limits: Constraints, say: Callable[[str], None] = lambda text: None
) -> LatencyPlan:
    """Choose widths by what they take on this machine; the student keeps what was found."""
    from fxprune.latency import plan_by_latency

    student.latency_plan = plan_by_latency(student, goal, limits, say=say)
    return student.latency_plan


def constraints(model: nn.Module | ExportedProgram, traced: Traced) -> Constraints:
    """Return what the Hugging Face class of `model` demands of a slim model's widths; nothing for other modules."""
    origin = model.meta.get("origin") if isinstance(model, Traced) else None
    model_class = origin.model_class if origin else type(model)
    if not _is_pretrained(model_class):
        return Constraints()
    from fxprune.deploy.size_classes import size_classes

    classes = size_classes(model_class, origin.config if origin else getattr(model, "config", None))  # type: ignore[arg-type]
    traced.meta["size_classes"] = classes
    return Constraints(
        ratios=[frozenset(ratio) for ratio in classes.ratios],
        multiples=[(multiple.axes, multiple.value) for multiple in classes.multiples],
        fixed=classes.fixed,
        recomputed=traced.provenance.recomputed | _not_saved(model_class, traced),
        numbers=unabsorbed(traced),
    )


def _not_saved(model_class: type, traced: Traced) -> frozenset[str]:
    """Return the constants the class leaves out of its folders and computes anew, such as a table of sines."""
    patterns = getattr(model_class, "_keys_to_ignore_on_save", None) or ()
    constants = (name for name, parameter in traced.named_parameters() if not parameter.requires_grad)
    return frozenset(name for name in constants if any(re.search(pattern, name) for pattern in patterns))


def check_score(importance: str, loss: object) -> None:
    """Raise ScoreError for an unknown score, or one that needs a loss."""
    if score_called(importance, over_time=False).needs_gradient and loss is None:
        raise ScoreError(
            f"the score {importance!r} needs a gradient",
            remedy="pass loss=, a function of the model's output, or use 'magnitude'",
        )


def scores_for(student: Student, importance: str, loss: Loss | None, example_kwargs: Mapping[str, Any]) -> UnitScores:
    """Score the units of all prunable groups.

    Raises:
        ScoreError: the loss is no number, or the score reads weights and the model is on the meta device.
    """
    traced = student.traced
    if any(parameter.is_meta for parameter in traced.parameters()):
        if importance != "random":
            raise ScoreError(
                f"the score {importance!r} reads the weights, and on the meta device they have no values",
                remedy="load the weights, or use 'random', the one score that needs none",
            )
        return random_units(student.groups)
    score = score_called(importance)
    if score.needs_gradient:
        for parameter in traced.parameters():
            parameter.requires_grad_(True)
        assert loss is not None, "checked before"
        value = loss(traced(**tracing.runnable(traced, example_kwargs)))
        if not (isinstance(value, Tensor) and value.numel() == 1 and value.requires_grad):
            raise ScoreError(
                "the loss is no number that depends on the weights",
                cause=f"loss= returned {list(value.shape) if isinstance(value, Tensor) else type(value).__name__}",
                remedy="make one number of the outputs, as lambda output: output.logits.square().mean() does",
            )
        value.backward()
    scores = UnitScorer(student.groups)(traced, score.of_weights)
    traced.zero_grad(set_to_none=True)
    return scores


def _is_pretrained(model_class: type) -> bool:
    transformers = sys.modules.get("transformers")
    return transformers is not None and issubclass(model_class, transformers.PreTrainedModel)
