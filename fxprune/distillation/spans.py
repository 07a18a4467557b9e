"""Sequence to sequence from plain text: spans are taken out of a block, and the decoder writes what was there.

With sentinels in the vocabulary (``<extra_id_0>``, ...) each span becomes one, and the target is the spans behind their
sentinels; with a mask token each span becomes that, and the target is the whole block; with neither the target is the
second half of the block, and the source its first. All rows of a batch get equally many spans and tokens, so nothing is
padded.

Source:
    Raffel et al. 2020, arXiv:1910.10683, section 3.1.4; Lewis et al. 2020, arXiv:1910.13461, text infilling.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor

from fxprune.distillation.batch import Batch
from fxprune.distillation.packing import SpecialTokens
from fxprune.errors import DataError

SPAN = 3.0  # mean tokens
_SENTINEL = re.compile(r"<extra_id_(\d+)>")


def corrupted(ids: Tensor, tokenizer: Any, start: int, generator: Generator, probability: float) -> Batch:
    """Return source, decoder input and labels for blocks of text.

    Args:
        ids: (batch, length) as `packed_batches` makes them.
        tokenizer: says which sentinels there are.
        start: token a decoder starts with.
        generator: of the spans.
        probability: share of the tokens that are taken out.
    Raises:
        DataError: the block is too short for a span.
    """
    frame = SpecialTokens.of(tokenizer)
    end = ids.shape[1] - len(frame.after)
    sentinels = sentinels_of(tokenizer)
    rows = []
    for row in ids[:, len(frame.before) : end].tolist():
        source, target = _split(row, sentinels, tokenizer.mask_token_id, generator, probability)
        rows.append((frame.before + source + frame.after, target + frame.after))
    inputs = torch.tensor([source for source, _ in rows])
    return with_decoder(inputs, torch.tensor([target for _, target in rows]), start)


def with_decoder(ids: Tensor, labels: Tensor, start: int, real: dict[str, Tensor] | None = None) -> Batch:
    """Return a batch whose decoder sees its labels one position late, behind the token `start`."""
    before = torch.cat([torch.full_like(labels[:, :1], start), labels[:, :-1]], 1)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "decoder_input_ids": before}
    return Batch({**inputs, "decoder_attention_mask": torch.ones_like(before)}, labels, real=real or {})


def start_token(config: Any, tokenizer: Any) -> int:
    """Return the token a decoder starts with: the one the model's config names, else the tokenizer's first or padding.

    Raises:
        DataError: there is none of them.
    """
    known = [
        value
        for owner, name in (
            (config, "decoder_start_token_id"),
            (tokenizer, "bos_token_id"),
            (tokenizer, "pad_token_id"),
        )
        if isinstance(value := getattr(owner, name, None), int)
    ]
    if not known:
        raise DataError("there is no token a decoder could start with", remedy="give the tokenizer a padding token")
    return known[0]


def sentinels_of(tokenizer: Any) -> list[int]:
    """Return the ids of the sentinels, the first one first."""
    found = {int(m[1]): i for word, i in tokenizer.get_vocab().items() if (m := _SENTINEL.fullmatch(word))}
    return [found[number] for number in sorted(found)]


def _split(
    row: list[int], sentinels: list[int], mask: int | None, generator: Generator, probability: float
) -> tuple[list[int], list[int]]:
    """Return what the encoder reads, and what the decoder writes."""
    if not sentinels and mask is None:
        return row[: len(row) // 2], row[len(row) // 2 :]
    spans = chosen_spans(len(row), probability, len(sentinels) or len(row), generator)
    marks = sentinels or [mask or 0] * len(spans)
    source: list[int] = []
    target: list[int] = []
    position = 0
    for mark, (start, stop) in zip(marks, spans, strict=False):
        source += [*row[position:start], mark]
        target += [mark, *row[start:stop]]
        position = stop
    return source + row[position:], target if sentinels else row


def chosen_spans(length: int, probability: float, most: int, generator: Generator) -> list[tuple[int, int]]:
    """Return (start, stop) of spans that do not touch; how many, and how many tokens in all, depends on `length` alone.

    >>> chosen_spans(40, 0.2, 100, torch.Generator().manual_seed(0))
    [(14, 20), (38, 40)]
    """
    taken = min(max(round(length * probability), 1), length - 1)
    number = min(max(round(taken / SPAN), 1), most, length - taken)
    if length < 2:
        raise DataError(f"a block of {length} tokens has no room for a span", remedy="choose a greater length")
    spans, position = [], 0
    for kept, gone in zip(_pieces(length - taken, number, generator), _pieces(taken, number, generator), strict=True):
        spans.append((position + kept, position + kept + gone))
        position += kept + gone
    return spans


def _pieces(total: int, number: int, generator: Generator) -> list[int]:
    """Cut `total` into so many pieces of at least one, all ways equally likely."""
    cuts = (torch.randperm(total - 1, generator=generator)[: number - 1] + 1).sort().values.tolist()
    return [stop - start for start, stop in pairwise([0, *cuts, total])]
