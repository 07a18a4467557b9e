"""Examples of text with what is right: a class or number for each sequence, or a class for each word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from fxprune.distillation.batch import Batch
from fxprune.distillation.columns import Columns
from fxprune.distillation.labels import Labels
from fxprune.distillation.losses import IGNORED
from fxprune.distillation.objective import REGRESSION, TOKENS, Objective
from fxprune.errors import DataError


@dataclass(frozen=True, slots=True)
class Example:
    """Inputs of one row, each (length,), and its labels: (length,) or ()."""

    inputs: Mapping[str, Tensor]
    labels: Tensor


class TextEncoder:
    """Turns rows with texts or words into examples.

    Args:
        tokenizer: a Hugging Face tokenizer with a padding token.
        objective: sequence or token classification, or regression.
        columns: what is read; without a target every token or sequence is labelled 0, and only compared.
        labels: reads the target.
        length: most tokens of an example; what is longer is cut.
    Raises:
        DataError: the tokenizer has no padding token.
    """

    def __init__(self, tokenizer: Any, objective: Objective, columns: Columns, labels: Labels, length: int) -> None:
        self.tokenizer, self.objective, self.columns, self.labels = tokenizer, objective, columns, labels
        self.max_length = length
        self.padding = padding_token(tokenizer)

    def __call__(self, rows: dict[str, list[Any]]) -> list[Example]:
        """Return an example for each row with content, and with a label where the data set has them."""
        chosen = [i for i in range(len(rows[self.columns.content[0]])) if self._has_content(rows, i)]
        if not chosen:
            return []
        texts = [[rows[name][i] for i in chosen] for name in self.columns.content]
        words = not isinstance(texts[0][0], str)
        encoded = self.tokenizer(
            *texts,
            truncation=True,
            max_length=self.max_length,
            is_split_into_words=words,
            return_token_type_ids="token_type_ids" in self.objective.inputs,
            return_special_tokens_mask=True,
            verbose=False,
        )
        targets = [rows[self.columns.target][i] for i in chosen] if self.columns.target else [None] * len(chosen)
        found = [self._example(encoded, i, target) for i, target in enumerate(targets)]
        return [example for example in found if example is not None]

    def length(self, example: Example) -> int:
        """Return how many tokens an example has."""
        return len(example.inputs["input_ids"])

    def batch(self, examples: list[Example]) -> Batch:
        """Pad examples to the longest, or to the only length the model takes."""
        least = self.max_length if self.objective.exact else 0
        ids = padded([example.inputs["input_ids"] for example in examples], self.padding, least)
        real = padded([torch.ones_like(example.inputs["input_ids"]) for example in examples], 0, least)
        types = padded([example.inputs["token_type_ids"] for example in examples], 0, least)
        labels = [example.labels for example in examples]
        return self.objective.picked(
            Batch(
                {"input_ids": ids, "attention_mask": real, "token_type_ids": types},
                padded(labels, IGNORED, least) if labels[0].ndim else torch.stack(labels),
                real={"input_ids": real.bool()},
            )
        )

    def _has_content(self, rows: Mapping[str, Sequence[Any]], i: int) -> bool:
        return all(rows[name][i] for name in self.columns.content)

    def _example(self, encoded: Any, i: int, target: Any) -> Example | None:
        ids = torch.tensor(encoded["input_ids"][i])
        types = torch.tensor(encoded["token_type_ids"][i]) if "token_type_ids" in encoded else torch.zeros_like(ids)
        if self.objective.name == TOKENS:
            labels = self._tags(encoded, i, target)
        elif self.columns.target is None:
            labels = torch.tensor(0)
        elif (label := self.labels(target)) is not None:
            labels = torch.tensor(label, dtype=torch.float32 if self.objective.name == REGRESSION else torch.int64)
        else:
            return None
        return Example({"input_ids": ids, "token_type_ids": types}, labels)

    def _tags(self, encoded: Any, i: int, tags: Sequence[Any] | None) -> Tensor:
        """Label the first token of each word; without tags, all but special ones."""
        if self.columns.target is None:
            special = torch.tensor(encoded["special_tokens_mask"][i])
            return torch.where(special.bool(), IGNORED, 0)
        found, before = [], None
        for word in encoded.word_ids(i):
            label = None if word is None or word == before or tags is None else self.labels(tags[word])
            found.append(IGNORED if label is None else label)
            before = word
        return torch.tensor(found, dtype=torch.int64)


def padding_token(tokenizer: Any) -> int:
    """Return the id of the padding token.

    Raises:
        DataError: there is none.
    """
    if tokenizer.pad_token_id is None:
        raise DataError("the tokenizer has no padding token", remedy="give it one, the one of the model's config")
    return int(tokenizer.pad_token_id)


def padded(rows: Sequence[Tensor], value: int, least: int = 0) -> Tensor:
    """Return rows of different lengths as (rows, longest), or (rows, `least`) if none is as long."""
    found = pad_sequence(list(rows), batch_first=True, padding_value=value)
    return pad(found, (0, max(least - found.shape[1], 0)), value=value)
