"""Batches of single sentences, for models that return one vector a text: packed blocks are not what they are used on.

A batch holds sentences of one length, so nothing is padded and no loss needs a mask; shorter sentences come more to a
batch, and every batch has about as many tokens.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from fxprune.distillation.packing import SpecialTokens, batch_of, readings
from fxprune.distillation.tokenising import encoded
from fxprune.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from fxprune.distillation.ranks import Ranks

_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+")  # noqa: RUF001  full-width marks
_SHORTEST = 4  # tokens of text; less is a title or the rest of an abbreviation


def sentences_of(text: str) -> list[str]:
    """Split after sentence marks and at line ends; abbreviations are split too, which does no harm here.

    >>> sentences_of("One is here. Two is not!\\nThree")
    ['One is here.', 'Two is not!', 'Three']
    """
    return [part.strip() for part in _END.split(text) if part and part.strip()]


def sentence_batches(
    dataset: Any,
    tokenizer: Any,
    *,
    length: int,
    batch_size: int,
    seed: int = 0,
    ranks: Ranks | None = None,
    epochs: int | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Yield batches of whole sentences without end, shuffled anew each epoch.

    Args:
        dataset: `datasets.Dataset` or `IterableDataset` with a column "text".
        tokenizer: a Hugging Face tokenizer; each sentence gets its special tokens.
        length: most tokens of a sentence, special tokens included; what is longer is cut.
        batch_size: sentences a batch, were they all of that length.
        seed: of the shuffling.
        ranks: processes that share the work of tokenising; each gets all batches.
        epochs: how often the data set is read; None: without end.
    Returns:
        Dictionaries of ``input_ids`` and ``attention_mask`` (all ones), (sentences, tokens), int64.
    Raises:
        DataError: no sentence has a few tokens.
    """
    SpecialTokens.of(tokenizer).room(length)
    waiting: dict[int, list[list[int]]] = {}
    for rows, generator in readings(dataset, seed, epochs):
        row = None
        for row in _encoded(rows, tokenizer, length, generator, ranks):
            batch = waiting.setdefault(len(row), [])
            batch.append(row)
            if len(batch) * len(row) >= batch_size * length:
                yield batch_of(waiting.pop(len(row)))
        if row is None:
            raise _no_sentence()


def fixed_sentence_batches(
    dataset: Any, tokenizer: Any, *, length: int, batch_size: int, n: int
) -> list[dict[str, Tensor]]:
    """Return at most `n` batches of sentences, the same every time, at least one: the lengths most of the text has.

    Raises:
        DataError: no sentence has a few tokens.
    """
    SpecialTokens.of(tokenizer).room(length)
    tokens, rows, total = n * batch_size * length, [], 0
    for row in _encoded(dataset, tokenizer, length, None):
        rows.append(row)
        total += len(row)
        if total >= tokens:
            break
    if not rows:
        raise _no_sentence()
    by_length: dict[int, list[list[int]]] = {}
    for row in rows:
        by_length.setdefault(len(row), []).append(row)
    most = sorted(by_length.values(), key=lambda found: (-len(found) * len(found[0]), len(found[0])))
    return [batch_of(found) for found in islice(most, n)]


def _encoded(
    dataset: Any, tokenizer: Any, length: int, generator: torch.Generator | None, ranks: Ranks | None = None
) -> Iterator[list[int]]:
    """Yield the sentences of one epoch as token ids."""
    special = len(tokenizer("")["input_ids"])

    def encode(texts: list[str]) -> list[list[int]]:
        found = [sentence for text in texts for sentence in sentences_of(text)]
        options = {"truncation": True, "max_length": length, "verbose": False}
        return tokenizer(found, **options)["input_ids"] if found else []

    for rows in encoded(dataset, encode, ranks):
        order: Iterable[int] = (
            range(len(rows)) if generator is None else torch.randperm(len(rows), generator=generator).tolist()
        )
        yield from (rows[i] for i in order if len(rows[i]) >= _SHORTEST + special)


def _no_sentence() -> DataError:
    return DataError(f"the data set has no sentence of {_SHORTEST} tokens", remedy="give more text")
