"""Text as calibration inputs, for a model that is cut without training."""

from __future__ import annotations

from itertools import islice
from typing import Any

from torch import Tensor

from fxprune.distillation.config import DistillConfig
from fxprune.distillation.feeding import feed
from fxprune.distillation.objective import find_objective
from fxprune.distillation.preflight import check_fits
from fxprune.errors import UsageError
from fxprune.traced import Traced

ROWS, LENGTH = 16, 64  # sequences a batch, tokens a sequence


def calibration_inputs(
    traced: Traced, tokenizer: Any, dataset: str | None, batches: int, seed: int = 0
) -> list[dict[str, Tensor]]:
    """Return inputs of a text model, as it would be trained on: sentences without a head, else blocks, masked or not.

    Args:
        traced: captured.
        tokenizer: of the model.
        dataset: "demo", local files, or the name of a data set on the hub.
        batches: how many, of 1,024 tokens each.
        seed: of the order of the text.
    Raises:
        UsageError: there is no text, no tokenizer, or the model takes something else.
        DataError: the data set cannot be read.
    """
    if dataset is None:
        raise UsageError(
            "a repair needs text to calibrate on",
            remedy="pass --dataset demo, or --dataset with a hub name or local text files",
        )
    if tokenizer is None:
        raise UsageError(
            "a repair reads text, and the model comes without a tokenizer",
            remedy="repair it in Python: fxprune.prune(..., repair='least-squares', calibration=[inputs, ...])",
        )
    config = DistillConfig(target_ratio=1.0, batch_size=ROWS, length=LENGTH, seed=seed, held_out_batches=1)
    held_out, stream = feed(dataset, tokenizer, find_objective(traced, tokenizer), config, None)
    check_fits(traced, held_out[0])
    return [dict(batch.inputs) for batch in islice(stream, batches)]
