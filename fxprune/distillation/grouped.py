"""Batches of examples that belong to rows: of like length together, so that little is padded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch

from fxprune.distillation.batch import Batch
from fxprune.distillation.packing import readings
from fxprune.distillation.tokenising import ROWS
from fxprune.errors import DataError


class Encoder(Protocol):
    """Turns rows of a data set into examples, and examples into a batch."""

    def __call__(self, rows: dict[str, list[Any]]) -> list[Any]:
        """Return an example for each row that can be used."""

    def length(self, example: Any) -> int:
        """Return what examples are grouped by."""

    def batch(self, examples: list[Any]) -> Batch:
        """Put examples into one batch."""


def grouped_batches(
    table: Any, encode: Encoder, *, batch_size: int, seed: int = 0, epochs: int | None = None
) -> Iterator[Batch]:
    """Yield batches without end, shuffled anew each epoch.

    Args:
        table: `datasets.Dataset` or `IterableDataset`.
        encode: its rows.
        batch_size: examples in a batch.
        seed: of the shuffling.
        epochs: how often the data set is read; None: without end.
    Raises:
        DataError: no row can be used.
    """
    left: list[Any] = []
    for shuffled, generator in readings(table, seed, epochs):
        seen = False
        for rows in shuffled.iter(batch_size=ROWS):
            examples = sorted([*left, *encode(rows)], key=encode.length)
            seen = seen or bool(examples)
            full = len(examples) // batch_size
            odd = len(examples) - full * batch_size
            skipped = int(torch.randint(full + 1, (), generator=generator)) * batch_size  # any length may have to wait
            left = examples[skipped : skipped + odd]
            rest = examples[:skipped] + examples[skipped + odd :]
            for i in torch.randperm(full, generator=generator).tolist():
                yield encode.batch(rest[i * batch_size : (i + 1) * batch_size])
        if not seen:
            raise _nothing()


def fixed_grouped_batches(table: Any, encode: Encoder, *, batch_size: int, n: int) -> list[Batch]:
    """Return at most `n` batches of the first rows, the same every time; the last one may be smaller.

    Raises:
        DataError: no row can be used.
    """
    examples: list[Any] = []
    for rows in table.iter(batch_size=ROWS):
        examples += encode(rows)
        if len(examples) >= n * batch_size:
            break
    chosen = sorted(examples[: n * batch_size], key=encode.length)
    if not chosen:
        raise _nothing()
    return [encode.batch(chosen[i : i + batch_size]) for i in range(0, len(chosen), batch_size)]


def _nothing() -> DataError:
    return DataError("no row of the data set can be used", remedy="give rows that hold something, and a label each")
