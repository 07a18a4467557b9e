"""One trial a seed: a fresh head, fine-tuned and scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import nn

from fxprune.errors import UsageError
from fxprune.evaluation.config import EvaluationConfig
from fxprune.evaluation.data import TRAIN
from fxprune.evaluation.examples import Collator
from fxprune.evaluation.finetune import Training, finetune, in_bf16, predict
from fxprune.evaluation.heads import Head, load_head, mean_head
from fxprune.evaluation.questions import QuestionTask
from fxprune.evaluation.result import SeedScores
from fxprune.evaluation.sentences import SentenceTask
from fxprune.evaluation.tasks import Recipe, Task
from fxprune.sources import Source

if TYPE_CHECKING:
    import pyarrow as pa

Tables: TypeAlias = "Mapping[str, pa.Table]"
OnStep = Callable[[int, int, int, float], None]  # seed, step from 1, steps in all, loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all trials share."""

    source: Source
    task: Task
    config: EvaluationConfig
    recipe: Recipe
    device: torch.device
    on_step: OnStep


class Trials:
    """The rows, encoded once, and a trial for any seed."""

    def __init__(self, setting: Setting, tables: Tables) -> None:
        self.setting = setting
        self.kind = _adapter(setting)
        self.training = self.kind.training(tables[TRAIN]) if TRAIN in tables else None
        self.held_out = {split: self.kind.held_out(rows) for split, rows in tables.items() if split != TRAIN}
        rows = len(self.training) if self.training is not None else 0
        self.steps = setting.config.steps(setting.recipe, rows) if rows else 0
        self.fresh: tuple[str, ...] = ()

    def runs(self) -> Iterator[SeedScores]:
        """Yield the scores of each seed; of one, where nothing is trained and so nothing is random."""
        devices = [self.setting.device] if self.setting.device.type == "cuda" else []
        for seed in range(self.setting.config.seeds if self.steps else 1):
            with torch.random.fork_rng(devices):  # the caller's own random numbers go on as if nothing had been
                torch.manual_seed(seed)
                run = self._run(seed)
            yield run

    def _run(self, seed: int) -> SeedScores:
        began, setting = perf_counter(), self.setting
        make = mean_head if setting.config.pooling == "mean" else load_head
        head = make(setting.source, setting.task)
        self.fresh = head.fresh
        _check_trained(head, self)
        model = head.model.to(setting.device)
        collate = Collator(setting.source.tokenizer, head.inputs, setting.device)
        if setting.config.bf16:
            in_bf16(model, setting.device)
        loss = self._finetuned(model, collate, seed) if self.training is not None else None
        scores = self._scores(model, collate)
        return SeedScores(seed=seed, scores=scores, loss=loss, seconds=perf_counter() - began)

    def _finetuned(self, model: nn.Module, collate: Collator, seed: int) -> float | None:
        assert self.training is not None
        decay = self.setting.config.weight_decay
        how = Training(steps=self.steps, recipe=self.setting.recipe, weight_decay=decay, seed=seed)

        def told(step: int, loss: float) -> None:
            self.setting.on_step(seed, step, self.steps, loss)

        return finetune(model, self.training, self.kind.loss, collate, how, told)

    def _scores(self, model: nn.Module, collate: Collator) -> dict[str, float]:
        """Score every held-out split; where there are two, their names stand behind the metric's."""
        scores: dict[str, float] = {}
        for split, held_out in self.held_out.items():
            said = predict(model, held_out.examples, self.kind.answer, collate, 2 * self.setting.recipe.batch_size)
            part = split.removeprefix("validation")  # "" or "_matched"
            scores |= {f"{name}{part}": value for name, value in held_out.scores(said).items()}
        return scores


def _adapter(setting: Setting) -> SentenceTask | QuestionTask:
    tokenizer, length = setting.source.tokenizer, setting.recipe.length
    if setting.task.kind == "question-answering":
        return QuestionTask(setting.task, tokenizer, length, setting.config.null_threshold)
    return SentenceTask(setting.task, tokenizer, length)


def _check_trained(head: Head, trials: Trials) -> None:
    """Raise UsageError if a head that nobody trained is to be scored."""
    if head.fresh and not trials.steps:
        name, task = trials.setting.source.name, trials.setting.task.name
        raise UsageError(
            f"model {name!r} has no head for task {task!r}, and without fine-tuning a random one would be scored",
            cause=f"its weights lack {', '.join(head.fresh)}",
            remedy="allow it some epochs or steps",
        )
