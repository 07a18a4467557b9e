"""Fine-tuning: AdamW with warm-up and linear decay, deterministic by seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from fxprune.errors import EvaluationError
from fxprune.evaluation.examples import Collator, Examples, shuffled_batches, sorted_batches
from fxprune.evaluation.tasks import Recipe
from fxprune.hub import first_line

Loss = Callable[[Any, Tensor], Tensor]  # (output of the model, targets) -> mean loss
Answer = Callable[[Any], Tensor]  # output of the model -> (batch, ...) on which the task is scored
OnStep = Callable[[int, float], None]  # step from 1, loss

WARM_UP = 0.1  # of the steps
CLIP = 1.0  # norm of the gradient, as in Devlin et al. 2019


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How long and how fast."""

    steps: int
    recipe: Recipe
    weight_decay: float
    seed: int


def finetune(
    model: nn.Module, examples: Examples, loss_of: Loss, collate: Collator, training: Training, on_step: OnStep
) -> float | None:
    """Train `model` in place; return the mean loss of the last tenth of the steps, None without any.

    Raises:
        EvaluationError: the loss is no number, or the model fails.
    """
    optimizer = _optimizer(model, training)
    batches = _endless(examples, training)
    losses = []
    model.train()
    for step in range(1, training.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = training.recipe.learning_rate * pace(step, training.steps)
        rows = next(batches)
        output = called(model, collate(examples, rows))
        loss = loss_of(output, examples.targets[rows].to(collate.device))
        losses.append(_finite(loss, step, training))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        on_step(step, losses[-1])
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last) if last else None


@torch.no_grad()
def predict(model: nn.Module, examples: Examples, answer: Answer, collate: Collator, size: int) -> list[Tensor]:
    """Return what the model says to each row, in the order of the rows; padding is left on."""
    found: list[Tensor | None] = [None] * len(examples)
    model.eval()
    for rows in sorted_batches(examples.lengths, size):
        said = answer(called(model, collate(examples, rows))).float().cpu()
        for row, value in zip(rows, said, strict=True):
            found[row] = value
    return [value for value in found if value is not None]


def in_bf16(model: nn.Module, device: torch.device) -> nn.Module:
    """Make `model` multiply in bfloat16, forward and backward; its weights stay float32."""
    model.forward = torch.autocast(device.type, torch.bfloat16)(model.forward)
    return model


def called(model: nn.Module, inputs: dict[str, Tensor]) -> Any:
    """Return the output of `model`.

    Raises:
        EvaluationError: it cannot take the inputs, or has no memory for them.
    """
    try:
        return model(**inputs)
    except (RuntimeError, ValueError, IndexError, TypeError, AssertionError, AttributeError) as error:
        shape = " x ".join(map(str, inputs["input_ids"].shape))
        raise EvaluationError(
            f"the model fails on a batch of {shape} tokens",
            cause=first_line(error),
            remedy="try a smaller batch or length; else this class cannot be used for the task",
        ) from error


def pace(step: int, steps: int) -> float:
    """Return the share of the peak rate at `step` (from 1): up over the first tenth, then down to almost zero.

    >>> [round(pace(step, 10), 2) for step in (1, 2, 6, 10)]
    [1.0, 0.9, 0.5, 0.1]
    """
    rise = math.ceil(steps * WARM_UP)
    return min(step / rise, (steps - step + 1) / max(1, steps - rise + 1))


def _optimizer(model: nn.Module, training: Training) -> Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": training.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=training.recipe.learning_rate, fused=True)


def _endless(examples: Examples, training: Training) -> Iterator[list[int]]:
    generator = torch.Generator().manual_seed(training.seed)
    while True:
        yield from shuffled_batches(examples.lengths, training.recipe.batch_size, generator)


def _finite(loss: Tensor, step: int, training: Training) -> float:
    value = loss.item()
    if not math.isfinite(value):
        raise EvaluationError(
            f"the loss is {value} at step {step} of fine-tuning with seed {training.seed}",
            remedy=f"lower the learning rate, which is {training.recipe.learning_rate:g}",
        )
    return value
