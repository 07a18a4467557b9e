"""Examples for a model: token lists beside what is right, and batches of such of like length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from fxprune.hub import quiet

Tokens = dict[str, list[int]]  # input_ids, attention_mask, ...
_POOL = 16  # batches whose rows are sorted by length together


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Rows of a task as a model takes them.

    Attributes:
        inputs: of each row.
        targets: (rows,) classes or numbers; (rows, 2) first and last token of an answer.
    """

    inputs: Sequence[Tokens]
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [len(row["input_ids"]) for row in self.inputs]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """A split to be scored.

    Attributes:
        examples: what the model is shown.
        scores: from what it says to each of them to the metrics of the task.
    """

    examples: Examples
    scores: Callable[[Sequence[Tensor]], dict[str, float]]


class Collator:
    """Pads rows to the longest of a batch, and keeps what the model's forward takes."""

    def __init__(self, tokenizer: Any, names: Sequence[str], device: torch.device) -> None:
        self.tokenizer, self.names, self.device = tokenizer, names, device

    def __call__(self, examples: Examples, rows: Sequence[int]) -> dict[str, Tensor]:
        """Return the inputs of `rows`, each (batch, tokens)."""
        chosen = [examples.inputs[row] for row in rows]
        with quiet():
            padded = self.tokenizer.pad(chosen, return_tensors="pt", padding_side="right")
        return {name: padded[name].to(self.device) for name in self.names if name in padded}


def shuffled_batches(lengths: Sequence[int], size: int, generator: Generator) -> Iterator[list[int]]:
    """Yield the rows of one epoch in random batches, those of a batch of similar length: little is padded.

    The rows are shuffled, sorted by length within pools of `_POOL` batches, and the batches shuffled again.
    """
    order = torch.randperm(len(lengths), generator=generator).tolist()
    batches = []
    for start in range(0, len(order), size * _POOL):
        pool = sorted(order[start : start + size * _POOL], key=lambda row: lengths[row])
        batches += [pool[i : i + size] for i in range(0, len(pool), size)]
    for place in torch.randperm(len(batches), generator=generator).tolist():
        yield batches[place]


def sorted_batches(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Yield all rows, longest first: a length the model cannot take shows in the first batch."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    yield from (order[i : i + size] for i in range(0, len(order), size))
