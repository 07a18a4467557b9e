"""What a run is fed: held-out batches, the same for every run, and training batches without end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from fxprune.distillation.columns import Columns
from fxprune.distillation.config import DistillConfig
from fxprune.distillation.data import text_dataset
from fxprune.distillation.grouped import Encoder, fixed_grouped_batches, grouped_batches
from fxprune.distillation.images import ImageEncoder
from fxprune.distillation.labelled import TextEncoder
from fxprune.distillation.labels import Labels
from fxprune.distillation.loop import generator_for
from fxprune.distillation.objective import FEATURES, Batch, Objective
from fxprune.distillation.packing import fixed_batches, packed_batches
from fxprune.distillation.pairs import PairEncoder
from fxprune.distillation.ranks import Ranks
from fxprune.distillation.sentences import fixed_sentence_batches, sentence_batches
from fxprune.distillation.stream import Stream
from fxprune.distillation.tables import read_table
from fxprune.errors import DataError, UsageError

T = TypeVar("T")


class OutOfTextError(DataError):
    """The text was to be read once, and has ended before the run."""


def feed(
    dataset: str,
    tokenizer: Any,
    objective: Objective,
    config: DistillConfig,
    text_column: str | None,
    ranks: Ranks | None = None,
    columns: Columns | None = None,
) -> tuple[list[Batch], Stream]:
    """Return held-out batches (masked once, the same for every run) and the endless training batches.

    All are whole and the same in every process.

    Args:
        dataset: "demo", files, or a name on the hub.
        tokenizer: of the model, or its image processor.
        objective: what the batches are for.
        config: settings.
        text_column: of plain text.
        ranks: the processes that share the work.
        columns: of rows that belong together with a label or target; None: plain text.
    """
    if columns is not None:
        return _feed_rows(dataset, _encoder(dataset, tokenizer, objective, config, columns), columns, config)
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
    read = partial(endless, rows, tokenizer, length=config.length, batch_size=config.batch_size, ranks=ranks)
    packed = enough(partial(read, seed=config.seed), config, sized=hasattr(rows, "__len__"))
    masks = generator_for(config.seed)
    return (
        [objective.prepare(batch, tokenizer, fixed, config.mask_probability) for batch in held_out],
        Stream(
            packed,
            lambda batch: objective.prepare(batch, tokenizer, masks, config.mask_probability),
            masks,
            spec=dataset,
        ),
    )


def _feed_rows(dataset: str, encode: Encoder, columns: Columns, config: DistillConfig) -> tuple[list[Batch], Stream]:
    content, size = columns.content[0], config.batch_size
    held_out = read_table(dataset, content, split="held_out")
    rows = read_table(dataset, content, split="train", seed=config.seed)
    read = partial(grouped_batches, rows, encode, batch_size=size, seed=config.seed)
    return (
        fixed_grouped_batches(held_out, encode, batch_size=size, n=config.held_out_batches),
        Stream(enough(read, config, sized=hasattr(rows, "__len__")), spec=dataset),
    )


def enough(read: Callable[..., Iterator[T]], config: DistillConfig, *, sized: bool) -> Iterator[T]:
    """Return training batches: without end, or of one reading that must last for all steps.

    Args:
        read: makes the batches of so many `epochs`.
        config: settings.
        sized: whether the text lies here, so that it can be read through before.
    Raises:
        DataError: it does not last; of a stream that shows when it ends.
    """
    if config.repeat:
        return read(epochs=None)
    needed = config.max_steps + config.calibration_batches
    found = sum(1 for _ in islice(read(epochs=1), needed)) if sized else needed
    if found < needed:
        raise _ends_early(found, needed)
    return _until_the_end(read(epochs=1), needed)


def _until_the_end(batches: Iterator[T], needed: int) -> Iterator[T]:
    found = 0
    for batch in batches:
        yield batch
        found += 1
    raise _ends_early(found, needed)


def _ends_early(found: int, needed: int) -> OutOfTextError:
    return OutOfTextError(
        f"the text ends after {found} batches, and the run takes {needed}",
        remedy="use fewer steps, smaller batches or more text, or let it be read again (repeat)",
    )


def _encoder(dataset: str, tokenizer: Any, objective: Objective, config: DistillConfig, columns: Columns) -> Encoder:
    if objective.start is not None:
        return PairEncoder(tokenizer, objective, columns, config.length)
    labels = None if objective.classes is None else Labels(dataset, objective, columns.names)
    if objective.pixels is not None:
        return ImageEncoder(tokenizer, objective, columns, labels, objective.pixels)
    assert labels is not None
    return TextEncoder(tokenizer, objective, columns, labels, config.length)


def by_sentence(config: DistillConfig, objective: Objective) -> bool:
    """Tell whether a row is one sentence instead of a block of joined documents."""
    if config.packing == "sentences" and objective.exact:
        raise UsageError(
            "sentences differ in length, and this model was captured at one",
            remedy="set packing to 'auto' or 'blocks'",
        )
    return config.packing == "sentences" or (
        config.packing == "auto" and objective.name == FEATURES and not objective.exact
    )
