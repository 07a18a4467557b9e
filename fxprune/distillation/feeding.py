"""What a run is fed: held-out batches, the same for every run, and training batches without end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fxprune.distillation.config import DistillConfig
from fxprune.distillation.data import text_dataset
from fxprune.distillation.loop import generator_for
from fxprune.distillation.objective import FEATURES, Batch, Objective
from fxprune.distillation.packing import fixed_batches, packed_batches
from fxprune.distillation.ranks import Ranks
from fxprune.distillation.sentences import fixed_sentence_batches, sentence_batches


def feed(
    dataset: str,
    tokenizer: Any,
    objective: Objective,
    config: DistillConfig,
    text_column: str | None,
    ranks: Ranks | None = None,
) -> tuple[list[Batch], Iterator[Batch]]:
    """Return held-out batches (masked once, the same for every run) and the endless training batches.

    All are whole and the same in every process.
    """
    fixed = generator_for(0)
    first, endless = (
        (fixed_sentence_batches, sentence_batches)
        if by_sentence(config, objective)
        else (fixed_batches, packed_batches)
    )
    held_out = first(
        text_dataset(dataset, split="held_out", text_column=text_column),
        tokenizer,
        length=config.length,
        batch_size=config.batch_size,
        n=config.held_out_batches,
    )
    rows = text_dataset(dataset, split="train", seed=config.seed, text_column=text_column)
    shape = {"length": config.length, "batch_size": config.batch_size}
    packed = endless(rows, tokenizer, **shape, seed=config.seed, ranks=ranks)
    masks = generator_for(config.seed)
    return (
        [objective.prepare(batch, tokenizer, fixed, config.mask_probability) for batch in held_out],
        (objective.prepare(batch, tokenizer, masks, config.mask_probability) for batch in packed),
    )


def by_sentence(config: DistillConfig, objective: Objective) -> bool:
    """Tell whether a row is one sentence instead of a block of joined documents."""
    return config.packing == "sentences" or (config.packing == "auto" and objective.name == FEATURES)
