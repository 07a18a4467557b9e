"""Examples of a text and the text to write for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fxprune.distillation.batch import Batch
from fxprune.distillation.columns import Columns
from fxprune.distillation.labelled import padded, padding_token
from fxprune.distillation.losses import IGNORED
from fxprune.distillation.objective import Objective
from fxprune.distillation.spans import with_decoder


@dataclass(frozen=True, slots=True)
class Pair:
    """Token ids of source and target, each (length,)."""

    source: Tensor
    target: Tensor


class PairEncoder:
    """Turns rows with a source and a target into examples.

    Args:
        tokenizer: a Hugging Face tokenizer with a padding token.
        objective: of an encoder-decoder.
        columns: source and target, or one column that holds both.
        length: most tokens of each; what is longer is cut.
    Raises:
        DataError: the tokenizer has no padding token.
    """

    def __init__(self, tokenizer: Any, objective: Objective, columns: Columns, length: int) -> None:
        self.tokenizer, self.objective, self.columns, self.max_length = tokenizer, objective, columns, length
        self.padding = padding_token(tokenizer)

    def __call__(self, rows: dict[str, list[Any]]) -> list[Pair]:
        """Return an example for each row with both texts."""
        texts = [both for both in zip(*self._both(rows), strict=True) if all(both)]
        if not texts:
            return []
        sources, targets = zip(*texts, strict=True)
        options = {"truncation": True, "max_length": self.max_length, "verbose": False}
        read = self.tokenizer(list(sources), **options)["input_ids"]
        written = self.tokenizer(text_target=list(targets), **options)["input_ids"]
        return [Pair(torch.tensor(s), torch.tensor(t)) for s, t in zip(read, written, strict=True)]

    def length(self, example: Pair) -> int:
        """Return the tokens of both."""
        return len(example.source) + len(example.target)

    def batch(self, examples: list[Pair]) -> Batch:
        """Pad sources and targets to the longest."""
        assert self.objective.start is not None
        sources, targets = ([getattr(example, name) for example in examples] for name in ("source", "target"))
        ids, written = padded(sources, self.padding), padded(targets, self.padding)
        real = {
            "input_ids": padded([torch.ones_like(row) for row in sources], 0).bool(),
            "decoder_input_ids": padded([torch.ones_like(row) for row in targets], 0).bool(),
        }
        made = with_decoder(ids, written, self.objective.start, real)
        masks = {"attention_mask": real["input_ids"].long(), "decoder_attention_mask": real["decoder_input_ids"].long()}
        labels = written.masked_fill(~real["decoder_input_ids"], IGNORED)
        return self.objective.picked(Batch({**made.inputs, **masks}, labels, real=real))

    def _both(self, rows: dict[str, list[Any]]) -> list[list[str | None]]:
        content, target = self.columns.content[0], self.columns.target
        if content == target:  # one column of translations
            return [[(row or {}).get(language) for row in rows[content]] for language in self.columns.names]
        assert target is not None
        return [rows[content], rows[target]]
