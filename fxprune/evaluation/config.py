"""Settings of an evaluation; what is left out comes from the task's own recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fxprune.errors import UsageError, unknown_name
from fxprune.evaluation.tasks import Recipe, Task

POOLINGS = ("model", "mean")
_SHORTEST = {"question-answering": 32}  # tokens: a question, and a window that moves
_AT_LEAST = {"seeds": 1, "epochs": 0, "max_steps": 0, "batch_size": 1, "length": 8, "train_rows": 1}
_AT_LEAST |= {"validation_rows": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """How a model is fine-tuned and scored.

    Attributes:
        seeds: how many runs; run i draws head, order of the rows and dropout from seed i.
        epochs, learning_rate, batch_size, length: see `Recipe`; None: the task's own. 0 epochs score as it stands.
        max_steps: instead of `epochs`: optimizer steps.
        train_rows, validation_rows: use as many rows, drawn alike for all models and seeds; None: all.
        weight_decay: of matrices.
        null_threshold: in SQuAD 2.0, how much better "no answer" must score than the best answer to be chosen.
        pooling: what the head of a sentence task reads. "model": what the class in transformers reads, often one token;
            "mean": the mean of all tokens, for sentence encoders and language models whose first token means little.
        bf16: multiply in bfloat16 (weights, sums and losses stay float32): about twice as fast where the processor
            has it.
        device: cpu, cuda or auto.
    """

    seeds: int = 3
    epochs: float | None = None
    max_steps: int | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    length: int | None = None
    train_rows: int | None = None
    validation_rows: int | None = None
    weight_decay: float = 0.01
    null_threshold: float = 0.0
    pooling: str = "model"
    bf16: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, least in _AT_LEAST.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= least):
                raise UsageError(f"{name} is {value}", remedy=f"give at least {least}")
        rate = self.learning_rate
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise UsageError(f"learning_rate is {rate}", remedy="give a number above 0, such as 5e-5")
        if math.isnan(self.null_threshold):
            raise UsageError("null_threshold is nan", remedy="give a number, such as 0")
        if self.pooling not in POOLINGS:
            raise UsageError(unknown_name("pooling", self.pooling, POOLINGS))
        if self.epochs is not None and self.max_steps is not None:
            raise UsageError("both epochs and max_steps are given", remedy="leave one out")

    def recipe(self, task: Task) -> Recipe:
        """Return the settings of fine-tuning for `task`.

        Raises:
            UsageError: the length is too short for it.
        """
        own = {name: getattr(self, name) for name in ("epochs", "learning_rate", "batch_size", "length")}
        own = {name: getattr(task.recipe, name) if value is None else value for name, value in own.items()}
        check_length(task, own["length"])
        return Recipe(**own)

    def steps(self, recipe: Recipe, rows: int) -> int:
        """Return the number of optimizer steps for `rows` examples."""
        return math.ceil(recipe.epochs * rows / recipe.batch_size) if self.max_steps is None else self.max_steps


def check_length(task: Task, length: int) -> None:
    """Raise UsageError if `length` tokens are too few for `task`."""
    least = _SHORTEST.get(task.kind, 0)
    if length < least:
        raise UsageError(f"length is {length}, too short for question and context", remedy=f"give at least {least}")
