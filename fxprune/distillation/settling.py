"""The objective and the columns of one run: what the graph shows, the config names and the data hold, put together."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from fxprune.distillation.columns import Columns, find_columns, has_pairs
from fxprune.distillation.objective import CLASSES, Objective, find_objective
from fxprune.distillation.spans import start_token
from fxprune.distillation.tables import features_of
from fxprune.errors import DataError
from fxprune.origin import only_length
from fxprune.traced import Traced


def settle(
    gm: Traced,
    config: Any,
    tokenizer: Any,
    dataset: str,
    *,
    wanted: str = "auto",
    text_column: str | None = None,
    target_column: str | None = None,
) -> tuple[Objective, Columns | None]:
    """Return the objective, and the columns it reads; no columns are plain text.

    Args:
        gm: captured.
        config: of the model, if it has one: names classes, and the token a decoder starts with.
        tokenizer: of the model.
        dataset: "demo", files, or a name on the hub.
        wanted: see `find_objective`.
        text_column: column that goes in, or two with a comma between.
        target_column: column of labels, or of texts to write.
    Raises:
        UsageError: the objective does not fit the model.
        DataError: the data set does not have what the objective needs.
    """
    objective = replace(find_objective(gm, tokenizer, wanted), exact=only_length(gm) is not None)
    if "decoder_input_ids" in objective.inputs:
        objective = replace(objective, start=start_token(config, tokenizer))
    elif "pixel_values" in objective.inputs:
        objective = replace(objective, pixels=_pixels(gm))
    if objective.name in CLASSES:
        objective = replace(objective, class_names=_class_names(config, objective))
    elif objective.start is None and objective.pixels is None:
        _check_no_target(objective, target_column)
        return objective, None
    columns = find_columns(dataset, features_of(dataset), objective, text_column, target_column)
    if objective.name in CLASSES:
        objective = replace(objective, labelled=columns.target is not None)
    if objective.start is not None and columns.target is None:
        return objective, None  # plain text
    return objective, columns


def with_segments(
    examples: dict[str, Tensor], model: Any, tokenizer: Any, dataset: str, text_column: str | None
) -> dict[str, Tensor]:
    """Add token types to the inputs a model is captured with, where it was trained on them and the data are pairs."""
    takes = "token_type_ids" in inspect.signature(model.forward).parameters
    if not takes or "token_type_ids" not in getattr(tokenizer, "model_input_names", ()):
        return examples
    pairs = "," in (text_column or "") or (text_column is None and has_pairs(features_of(dataset)))
    return {**examples, "token_type_ids": torch.zeros_like(examples["input_ids"])} if pairs else examples


def _check_no_target(objective: Objective, target_column: str | None) -> None:
    if target_column is not None:
        raise DataError(
            f"the objective {objective.name} has no use for the target column {target_column!r}",
            remedy="leave it out, or distil a model with classes or a decoder",
        )


def _pixels(gm: GraphModule) -> tuple[int, int, int]:
    (images,) = (node for node in gm.graph.nodes if node.op == "placeholder" and node.target == "pixel_values")
    _, channels, height, width = images.meta["val"].shape
    return int(channels), int(height), int(width)


def _class_names(config: Any, objective: Objective) -> tuple[str, ...]:
    """Return the names of the classes, unless they are the ones the library makes up."""
    names = getattr(config, "id2label", None) or {}
    found = tuple(str(names[i]) for i in sorted(names))
    generic = all(name == f"LABEL_{i}" for i, name in enumerate(found))
    return () if generic or len(found) != objective.classes else found
