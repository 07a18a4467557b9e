"""Evaluate a model on a task: read and check the rows, load the model, then one trial for each seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from fxprune.distillation.device import choose_device
from fxprune.errors import UsageError
from fxprune.evaluation.config import EvaluationConfig, check_length
from fxprune.evaluation.data import TRAIN, read_splits, sample
from fxprune.evaluation.finetune import in_bf16
from fxprune.evaluation.heads import check_tokenizer, features, fitting_length, opened
from fxprune.evaluation.result import Evaluation, SeedScores
from fxprune.evaluation.similarity import similarity
from fxprune.evaluation.tasks import Recipe, Task, find_task
from fxprune.evaluation.trials import OnStep, Setting, Tables, Trials

if TYPE_CHECKING:
    from torch import nn


def evaluate(
    model: str | Path | nn.Module,
    task: str,
    *,
    data: str | Path | None = None,
    tokenizer: Any = None,
    config: EvaluationConfig | None = None,
    on_step: OnStep | None = None,
    **settings: Any,
) -> Evaluation:
    """Fine-tune a model on a task, once for each seed, and score it with the task's official metrics.

    Args:
        model: a Hugging Face folder, a hub name or "demo"; for text-similarity also an ONNX file with its tokenizer
            beside it; or a transformers model or a student of fxprune in memory,
            which is not changed.
        task: one of `fxprune.evaluation.tasks.TASKS`.
        data: folder with ``train.parquet`` and ``validation.parquet``, or with a folder of them named after the task;
            default: the hub.
        tokenizer: of a model in memory.
        config: all settings; or give them by name: ``seeds=3, max_steps=200``.
        on_step: told seed, step, steps in all and loss after each step.
    Returns:
        The scores of each seed; `.median` and `.spread` of them.
    Raises:
        UsageError: unknown task or impossible settings.
        DataError: a split or column is missing, or holds something else.
        SourceError: the model cannot be loaded, or its type has no such head.
        EvaluationError: the loss became no number, or the model cannot take the rows.
    """
    if config is not None and settings:
        raise UsageError("give config or single settings, not both", remedy=f"put {', '.join(settings)} into config")
    chosen, asked = config or EvaluationConfig(**settings), find_task(task)
    device, recipe = choose_device(chosen.device), chosen.recipe(asked)
    if isinstance(model, (str, Path)) and str(model).endswith(".onnx"):
        return _onnx_file(Path(model), asked, chosen, recipe, None if data is None else Path(data), tokenizer)
    tables = _tables(chosen, asked, None if data is None else Path(data))
    with opened(model, tokenizer) as source:
        check_tokenizer(source)
        length = fitting_length(source, recipe.length, explicit=chosen.length is not None)
        check_length(asked, length)
        setting = Setting(
            source=source,
            task=asked,
            config=chosen,
            recipe=replace(recipe, length=length),
            device=device,
            on_step=on_step or (lambda seed, step, steps, loss: None),
        )
        done = _trained(setting, tables) if asked.trains else _as_it_is(setting, tables)
        return Evaluation(
            model=source.name,
            task=task,
            parameters=sum(parameter.numel() for parameter in source.model.parameters()),
            rows={split: rows.num_rows for split, rows in tables.items()},
            runs=done.runs,
            fresh=done.fresh,
            settings={"length": length, "batch_size": recipe.batch_size, "device": str(device), **done.settings},
        )


def _onnx_file(
    path: Path, task: Task, config: EvaluationConfig, recipe: Recipe, data: Path | None, tokenizer: Any
) -> Evaluation:
    """Score an ONNX file as it is."""
    from fxprune.evaluation.onnx_encoder import OnnxEncoder, tokenizer_beside

    if task.trains:
        raise UsageError(
            f"task {task.name!r} fine-tunes, and {str(path)!r} is an ONNX file",
            remedy="use --task text-similarity, or give the folder of the model",
        )
    encoder, began = OnnxEncoder(path), perf_counter()
    tables = _tables(config, task, data)
    (rows,) = tables.values()
    found = tokenizer or tokenizer_beside(path)
    scores = similarity(encoder, found, rows, length=recipe.length, batch=recipe.batch_size)
    return Evaluation(
        model=str(path),
        task=task.name,
        parameters=encoder.weights(),
        rows={split: one.num_rows for split, one in tables.items()},
        runs=(SeedScores(seed=0, scores=scores, loss=None, seconds=perf_counter() - began),),
        fresh=(),
        settings={"length": recipe.length, "batch_size": recipe.batch_size, "device": "cpu", "steps": 0},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    runs: tuple[SeedScores, ...]
    settings: dict[str, Any]
    fresh: tuple[str, ...] = ()


def _tables(config: EvaluationConfig, task: Task, data: Path | None) -> Tables:
    trains = task.trains and config.max_steps != 0 and config.epochs != 0
    limits = {TRAIN: config.train_rows}
    splits = read_splits(task, data, train=trains)
    return {split: sample(rows, limits.get(split, config.validation_rows)) for split, rows in splits.items()}


def _trained(setting: Setting, tables: Tables) -> _Done:
    trials = Trials(setting, tables)
    runs = tuple(trials.runs())
    if not trials.steps:
        return _Done(runs=runs, settings={"steps": 0})
    own = asdict(setting.config) | asdict(setting.recipe)
    if setting.config.max_steps is not None:
        own["epochs"] = None
    return _Done(runs=runs, settings={**own, "device": str(setting.device), "steps": trials.steps}, fresh=trials.fresh)


def _as_it_is(setting: Setting, tables: Tables) -> _Done:
    began, model = perf_counter(), features(setting.source).to(setting.device)
    if setting.config.bf16:
        in_bf16(model, setting.device)
    (rows,) = tables.values()
    recipe, tokenizer = setting.recipe, setting.source.tokenizer
    scores = similarity(model, tokenizer, rows, length=recipe.length, batch=recipe.batch_size)
    run = SeedScores(seed=0, scores=scores, loss=None, seconds=perf_counter() - began)
    return _Done(runs=(run,), settings={"steps": 0})
