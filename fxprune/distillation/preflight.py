"""What is checked before anything is trained."""

from __future__ import annotations

import torch
from torch import nn

from fxprune.distillation.batch import Batch
from fxprune.distillation.config import LossWeights
from fxprune.distillation.objective import Objective
from fxprune.distillation.taps import Taps
from fxprune.errors import UsageError
from fxprune.hub import first_line
from fxprune.traced import Traced


def check_float32(model: nn.Module) -> None:
    """Raise UsageError for a model in another precision."""
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            raise UsageError(
                f"the model is in {str(parameter.dtype).removeprefix('torch.')}, and is trained in float32",
                cause=f"parameter {name!r}",
                remedy="pass model.float()",
            )


def check_shares(batch_size: int, processes: int) -> None:
    """Raise UsageError if a process would have nothing to do."""
    if batch_size < processes:
        raise UsageError(
            f"a batch of {batch_size} sequences is too small for {processes} processes",
            cause="--batch-size counts the sequences of a step in all processes together",
            remedy="raise --batch-size, or start fewer processes",
        )


def check_terms(objective: Objective, taps: Taps, weights: LossWeights) -> None:
    """Raise UsageError where no term has both a weight and a meaning."""
    predicts = objective.logits is not None
    has = {
        "task": objective.labelled if predicts else any(tap.output for tap in taps.hidden),
        "kl": predicts,
        "hidden": bool(taps.hidden),
        "embedding": bool(taps.embedding),
        "attention": bool(taps.attention),
    }
    if not any(getattr(weights, name) for name, found in has.items() if found):
        known = [name for name, found in has.items() if found]
        raise UsageError(
            "no loss term is left for this model",
            cause=f"the objective {objective.name} has {', '.join(known) or 'none'} here, and no weight for it",
            remedy=f"give {known[0]} a weight" if known else "this model cannot be distilled; use `fxprune prune`",
        )


def check_fits(teacher: Traced, batch: Batch) -> None:
    """Let the teacher read two rows, on the CPU: elsewhere an index out of range ends the process."""
    rows = {
        name: tensor[:2] if len(tensor) > 1 else torch.cat([tensor, tensor]) for name, tensor in batch.inputs.items()
    }
    try:
        with torch.no_grad():
            teacher(**rows)
    except (IndexError, RuntimeError) as error:
        raise UsageError(
            f"the model cannot read {_what(batch)}",
            cause=first_line(error),
            remedy="choose a smaller length, or the tokenizer the model was trained with",
        ) from error


def _what(batch: Batch) -> str:
    ids = batch.inputs.get("input_ids")
    if ids is None:
        return f"images of {' x '.join(map(str, next(iter(batch.inputs.values())).shape[1:]))}"
    return f"sequences of {ids.shape[1]} tokens with ids up to {int(ids.max())}"
