"""The model of a task: the weights of a folder under the head the task needs."""

from __future__ import annotations

import copy
import inspect
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fxprune.classes import TASKS, task_class
from fxprune.deploy.bundle import GRAPH, write_hf
from fxprune.deploy.manifest import read_manifest
from fxprune.errors import SourceError, UsageError
from fxprune.evaluation.pooling import FRESH, mean_classifier
from fxprune.evaluation.tasks import Task
from fxprune.hub import offline, quiet
from fxprune.positions import named_positions, position_rows
from fxprune.sources import Source, load_model, load_tokenizer
from fxprune.traced import Traced


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A model that can be fine-tuned.

    Attributes:
        model: float32, evaluation mode.
        fresh: tensors its weights do not hold, so that they are random.
        inputs: names its call takes.
    """

    model: nn.Module
    fresh: tuple[str, ...]
    inputs: tuple[str, ...]


@contextmanager
def opened(model: str | Path | nn.Module, tokenizer: Any = None) -> Iterator[Source]:
    """Yield the source of heads: a folder, a hub name, or a model in memory, which is written to disk once.

    Raises:
        SourceError: it cannot be loaded whole, is no Hugging Face model, or has no tokenizer.
        DeployError: no config expresses the widths of a student.
    """
    if isinstance(model, (str, Path)):
        _refuse_graph(str(model))
        source = load_model(str(model))
        load_tokenizer(source)
        yield source
        return
    if tokenizer is None:
        raise SourceError("a model in memory comes without a tokenizer", remedy="pass tokenizer=")
    with tempfile.TemporaryDirectory(prefix="fxprune-") as folder:
        with quiet():
            _write(model, Path(folder))
            tokenizer.save_pretrained(folder)
        yield replace(load_model(folder), name=type(model).__name__)


def _write(model: nn.Module, folder: Path) -> None:
    if isinstance(model, Traced) and write_hf(model, folder) is not None:
        return
    save: Callable[[Path], None] | None = getattr(model, "save_pretrained", None)
    if isinstance(model, Traced) or save is None:
        raise SourceError(
            f"a {type(model).__name__} has no class in transformers, so it cannot get the head of a task",
            remedy="give a transformers model, or a folder with config.json and model.safetensors",
        )
    save(folder)


def load_head(source: Source, task: Task) -> Head:
    """Load the weights of `source` into the class that answers `task`; a head that fits is kept, others are random.

    The random ones come from torch's own generator: seed it before.

    Raises:
        SourceError: models of this type have no such head.
    """
    config = copy.deepcopy(source.config)
    config.num_labels = task.classes if task.kind == "text-classification" else 2  # first and last token
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = load_tokenizer(source).pad_token_id
    with quiet():
        model, report = task_class(source.name, config, TASKS[task.kind]).from_pretrained(
            source.location,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            local_files_only=Path(source.location).is_dir() or offline(),
            output_loading_info=True,
        )
    mismatched = {name if isinstance(name, str) else name[0] for name in report["mismatched_keys"]}
    fresh = tuple(sorted({*report["missing_keys"], *mismatched}))
    return Head(model=model.eval(), fresh=fresh, inputs=_inputs(model))


def mean_head(source: Source, task: Task) -> Head:
    """Return the model of `source` under a fresh head that reads the mean of all tokens (see `pooling`).

    Raises:
        SourceError: it returns no hidden states of tokens.
        UsageError: the task asks for more than classes or a number.
    """
    if task.kind != "text-classification":
        raise UsageError(
            f"task {task.name!r} reads every token, and pooling 'mean' leaves one vector of a text",
            remedy="use --pooling model",
        )
    encoder = copy.deepcopy(features(source))
    return Head(model=mean_classifier(encoder, task.classes, source.name), fresh=FRESH, inputs=_inputs(encoder))


def _inputs(model: nn.Module) -> tuple[str, ...]:
    return tuple(inspect.signature(model.forward).parameters)


def features(source: Source) -> nn.Module:
    """Return the model of `source` without a head, for tasks on its features; of an encoder-decoder the encoder."""
    model: Any = source.model
    if source.config.is_encoder_decoder:
        encoder: nn.Module = model.get_encoder()
        return encoder
    return getattr(model, model.base_model_prefix, model)


def check_tokenizer(source: Source) -> None:
    """Give the tokenizer a padding token if it lacks one, and raise SourceError if it cannot say where tokens lie."""
    tokenizer = load_tokenizer(source)
    if not tokenizer.is_fast:
        raise SourceError(
            f"the tokenizer of model {source.name!r} is a slow one", remedy="save it with a tokenizer.json"
        )
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise SourceError(
                f"the tokenizer of model {source.name!r} has no padding token", remedy="set its pad_token and save it"
            )
        tokenizer.pad_token = tokenizer.eos_token


def longest(source: Source) -> int | None:
    """Return the most tokens the model takes; None if nothing says."""
    limit = load_tokenizer(source).model_max_length  # without one the library writes 1e30
    told = [
        position_rows(source.model, source.config) or named_positions(source.config),
        limit if limit < 1e9 else None,
    ]
    return min((tokens for tokens in told if tokens), default=None)


def fitting_length(source: Source, asked: int, *, explicit: bool) -> int:
    """Return `asked` tokens, or fewer where the model takes fewer and they are only a default.

    Raises:
        UsageError: the user asked for more than it takes.
    """
    most = longest(source)
    if most is None or asked <= most:
        return asked
    if explicit:
        raise UsageError(
            f"length is {asked}, and model {source.name!r} takes {most} tokens", remedy=f"give at most {most}"
        )
    return most


def _refuse_graph(name: str) -> None:
    path = Path(name).expanduser()
    alone = (path / GRAPH).is_file() and not (path / "config.json").is_file()
    if alone or name.endswith(".pt2"):
        failures = read_manifest(path).get("failures", {}) if alone else {}
        why = next((str(why) for stage, why in failures.items() if stage.lower().startswith("hugging")), None)
        raise SourceError(
            f"model {name!r} is a graph (.pt2) and no Hugging Face model, so it cannot get the head of a task",
            cause=why and why.splitlines()[0],
            remedy="give a folder with config.json and model.safetensors",
        )
