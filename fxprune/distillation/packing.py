"""Batches of text: documents packed into blocks of one length, and masked for the masked-LM loss."""

from __future__ import annotations

from itertools import count, islice
from typing import TYPE_CHECKING, Any

import torch

from fxprune.distillation.tokenising import encoded
from fxprune.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Generator, Tensor

    from fxprune.distillation.ranks import Ranks

_BUFFER = 1024  # documents a stream is shuffled in
_IGNORED = -100  # label of a position that takes no part in the loss
_MASKED, _RANDOM = 0.8, 0.1  # of the chosen tokens; the rest stays (Devlin et al. 2019, arXiv:1810.04805)


def packed_batches(
    dataset: Any,
    tokenizer: Any,
    *,
    length: int,
    batch_size: int,
    seed: int = 0,
    ranks: Ranks | None = None,
    epochs: int | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Yield batches without end: documents joined and cut to blocks of `length` tokens, shuffled anew each epoch.

    Batch number n depends on the arguments alone, so a run goes on after n batches with `islice(batches, n, None)`.

    Args:
        dataset: `datasets.Dataset` or `IterableDataset` with a column "text".
        tokenizer: a Hugging Face tokenizer; each block gets the special tokens it puts around a text.
        length: tokens in a block, special tokens included.
        batch_size: blocks in a batch.
        seed: of the shuffling.
        ranks: processes that share the work of tokenising; each gets all batches.
        epochs: how often the data set is read; None: without end.
    Returns:
        Dictionaries of ``input_ids`` and ``attention_mask`` (all ones), each (batch_size, length), int64.
    Raises:
        DataError: the data set has not one full block, or `length` leaves no room for text.
    """
    yield from _batches(_epochs(dataset, tokenizer, length, seed, ranks, epochs), batch_size)


def fixed_batches(dataset: Any, tokenizer: Any, *, length: int, batch_size: int, n: int) -> list[dict[str, Tensor]]:
    """Return at most `n` batches as `packed_batches` makes them, in the order of the data set: the same every time.

    The last one may hold fewer blocks; a data set that ends early gives fewer batches, but at least one.

    Raises:
        DataError: the data set has not one full block.
    """
    frame = SpecialTokens.of(tokenizer)
    blocks = list(islice(_blocks(dataset, tokenizer, frame, frame.room(length), None), n * batch_size))
    if not blocks:
        raise _too_small(length)
    return [batch_of(blocks[i : i + batch_size]) for i in range(0, len(blocks), batch_size)]


def mask_tokens(ids: Tensor, tokenizer: Any, generator: Generator, probability: float = 0.15) -> tuple[Tensor, Tensor]:
    """Mask tokens for the masked-LM loss: of those chosen 80 % become the mask, 10 % a random token, 10 % stay.

    Args:
        ids: (batch, length) token ids; special tokens are never chosen.
        tokenizer: a tokenizer with a mask token.
        generator: of the random choices, on the device of `ids`.
        probability: share of the tokens that are chosen.
    Returns:
        Masked ids, and labels: the id at chosen positions, -100 elsewhere; both of the shape of `ids`.
    Raises:
        DataError: the tokenizer has no mask token.
    """
    if tokenizer.mask_token_id is None:
        raise DataError(
            "the tokenizer has no mask token, so there is no masked-LM loss",
            remedy="use the causal loss for a causal model, or a tokenizer with a mask token",
        )
    special = torch.tensor(tokenizer.all_special_ids, device=ids.device)
    draw = torch.rand(ids.shape, generator=generator, device=ids.device)
    chosen = (draw < probability) & ~torch.isin(ids, special)
    labels = ids.masked_fill(~chosen, _IGNORED)
    fate = torch.rand(ids.shape, generator=generator, device=ids.device)
    noise = torch.randint(len(tokenizer), ids.shape, generator=generator, device=ids.device)
    masked = torch.where(chosen & (fate < _MASKED), torch.full_like(ids, tokenizer.mask_token_id), ids)
    return torch.where(chosen & (fate >= 1 - _RANDOM), noise, masked), labels


class SpecialTokens:
    """What a tokenizer puts before and after one text, and between two."""

    def __init__(self, before: list[int], after: list[int], between: list[int]) -> None:
        self.before, self.after, self.between = before, after, between

    @classmethod
    def of(cls, tokenizer: Any) -> SpecialTokens:
        """Read the special tokens off an encoded text, which every kind of tokenizer can do."""
        bare = tokenizer("a", add_special_tokens=False)["input_ids"]
        full = tokenizer("a")["input_ids"]
        start = next((i for i in range(len(full)) if full[i : i + len(bare)] == bare), None)
        separator = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
        between = [] if separator is None else [separator]
        return cls([], [], between) if start is None else cls(full[:start], full[start + len(bare) :], between)

    def room(self, length: int) -> int:
        """Return how many tokens of text fit into a block of `length`."""
        room = length - len(self.before) - len(self.after)
        if room < 1:
            raise DataError(f"a block of {length} tokens has no room for text", remedy="choose a greater length")
        return room


def _epochs(
    dataset: Any, tokenizer: Any, length: int, seed: int, ranks: Ranks | None, epochs: int | None
) -> Iterator[list[int]]:
    frame = SpecialTokens.of(tokenizer)
    room = frame.room(length)
    for rows, generator in readings(dataset, seed, epochs):
        block = None
        for block in _blocks(rows, tokenizer, frame, room, generator, ranks):
            yield block
        if block is None:
            raise _too_small(length)


def readings(dataset: Any, seed: int, epochs: int | None) -> Iterator[tuple[Any, Generator]]:
    """Yield the data set in the order of each epoch, and what decides what else is drawn in it.

    Args:
        dataset: `datasets.Dataset` or `IterableDataset`.
        seed: of all epochs.
        epochs: how many; None: without end.
    """
    for epoch in count() if epochs is None else range(epochs):
        yield _shuffled(dataset, seed + epoch), torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def _shuffled(dataset: Any, seed: int) -> Any:
    """Return the data set in the order of one epoch."""
    if hasattr(dataset, "__len__"):
        return dataset.shuffle(seed=seed)
    return dataset.shuffle(seed=seed, buffer_size=_BUFFER)


def _blocks(
    dataset: Any,
    tokenizer: Any,
    frame: SpecialTokens,
    room: int,
    generator: Generator | None,
    ranks: Ranks | None = None,
) -> Iterator[list[int]]:
    """Yield the blocks of one epoch; what is left at its end and fills no block is dropped."""

    def encode(texts: list[str]) -> list[list[int]]:
        return tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]

    rest: list[int] = []
    for documents in encoded(dataset, encode, ranks):
        for tokens in documents:
            rest += tokens + frame.between
        full = len(rest) // room
        order = range(full) if generator is None else torch.randperm(full, generator=generator).tolist()
        for i in order:
            yield frame.before + rest[i * room : (i + 1) * room] + frame.after
        rest = rest[full * room :]


def _batches(blocks: Iterator[list[int]], batch_size: int) -> Iterator[dict[str, Tensor]]:
    while len(chunk := list(islice(blocks, batch_size))) == batch_size:
        yield batch_of(chunk)


def batch_of(blocks: list[list[int]]) -> dict[str, Tensor]:
    """Return sequences of one length as a batch."""
    ids = torch.tensor(blocks, dtype=torch.int64)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _too_small(length: int) -> DataError:
    return DataError(f"the data set has not one block of {length} tokens", remedy="give more text or a smaller length")
