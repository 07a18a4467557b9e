"""Text, rows or images as calibration inputs, for a model that is cut without training, or quantised."""

from __future__ import annotations

from itertools import islice
from typing import Any

from torch import Tensor

from fxprune.distillation.config import DistillConfig
from fxprune.distillation.feeding import feed
from fxprune.distillation.preflight import check_fits
from fxprune.distillation.settling import settle
from fxprune.errors import UsageError
from fxprune.origin import Origin, only_length
from fxprune.traced import Traced

ROWS, LENGTH = 16, 64  # sequences a batch, tokens a sequence


def calibration_inputs(
    traced: Traced, tokenizer: Any, dataset: str | None, batches: int, seed: int = 0
) -> list[dict[str, Tensor]]:
    """Return inputs of a model, as it would be trained on: sentences without a head, else blocks, masked or not.

    Labelled rows are read where the model has classes, and images where it takes them.

    Args:
        traced: captured.
        tokenizer: of the model, or its image processor; images need none.
        dataset: "demo", local files, or the name of a data set on the hub.
        batches: how many, of 1,024 tokens or 16 images each.
        seed: of the order of the data.
    Raises:
        UsageError: there is no data, no tokenizer, or the model takes something else.
        DataError: the data set cannot be read.
    """
    if dataset is None:
        raise UsageError(
            "there is nothing to calibrate on",
            remedy="pass --dataset demo, or --dataset with a hub name or local files",
        )
    images = "pixel_values" in {node.target for node in traced.graph.nodes if node.op == "placeholder"}
    if tokenizer is None and not images:
        raise UsageError(
            "text to calibrate on needs a tokenizer, and the model comes without one",
            remedy="calibrate in Python: fxprune.prune(..., calibration=[inputs, ...])",
        )
    config = DistillConfig(
        target_ratio=1.0, batch_size=ROWS, length=only_length(traced) or LENGTH, seed=seed, held_out_batches=1
    )
    origin: Origin | None = traced.meta.get("origin")
    objective, columns = settle(traced, origin and origin.config, tokenizer, dataset)
    held_out, stream = feed(dataset, tokenizer, objective, config, None, columns=columns)
    check_fits(traced, held_out[0])
    return [dict(batch.inputs) for batch in islice(stream, batches)]
