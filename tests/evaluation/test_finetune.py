"""Batches hold every row once and little padding; training is repeatable; the rate rises and falls."""

from __future__ import annotations

import pytest
import torch
from evaluating import tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from fxprune.errors import EvaluationError
from fxprune.evaluation.examples import Collator, Examples, shuffled_batches, sorted_batches
from fxprune.evaluation.finetune import pace, predict

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=90)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 7))
def test_an_epoch_holds_every_row_once(lengths, size):
    for batches in (list(shuffled_batches(lengths, size, generator())), list(sorted_batches(lengths, size))):
        assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
        assert all(len(batch) <= size for batch in batches)


def test_batches_are_of_like_length_in_random_order():
    lengths = torch.randint(5, 100, (640,), generator=generator()).tolist()
    batches = list(shuffled_batches(lengths, 16, generator()))
    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)
    assert padded < 1.15 * sum(lengths)  # rows in random order: about 1.8
    assert batches != list(shuffled_batches(lengths, 16, generator(1)))
    means = [sum(lengths[row] for row in batch) / len(batch) for batch in batches]
    assert sorted(means) != means


def test_rows_are_padded_on_the_right_even_where_the_tokenizer_would_not():
    left = tokenizer().__class__(tokenizer_object=tokenizer().backend_tokenizer, pad_token="[PAD]", padding_side="left")
    rows = [{"input_ids": [7, 8, 9], "attention_mask": [1, 1, 1]}, {"input_ids": [7], "attention_mask": [1]}]
    collate = Collator(left, ["input_ids"], torch.device("cpu"))
    batch = collate(Examples(inputs=rows, targets=torch.zeros(2)), [1, 0])
    assert batch.keys() == {"input_ids"}  # the model takes no mask
    assert batch["input_ids"].tolist() == [[7, 0, 0], [7, 8, 9]]


def test_predictions_come_in_the_order_of_the_rows():
    rows = [{"input_ids": [i] * (1 + i * 7 % 5)} for i in range(5, 20)]
    examples = Examples(inputs=rows, targets=torch.zeros(len(rows)))

    class First(torch.nn.Module):
        def forward(self, input_ids):
            return input_ids[:, 0]

    collate = Collator(tokenizer(), ["input_ids"], torch.device("cpu"))
    found = predict(First(), examples, lambda output: output, collate, 4)
    assert [int(value) for value in found] == list(range(5, 20))


def test_a_model_that_cannot_take_a_batch_is_told_with_its_shape():
    class Narrow(torch.nn.Module):
        def forward(self, input_ids):
            return torch.zeros(4)[input_ids]

    examples = Examples(inputs=[{"input_ids": [1, 2, 9]}], targets=torch.zeros(1))
    collate = Collator(tokenizer(), ["input_ids"], torch.device("cpu"))
    with pytest.raises(EvaluationError, match="the model fails on a batch of 1 x 3 tokens") as error:
        predict(Narrow(), examples, lambda output: output, collate, 4)
    assert "IndexError" in error.value.cause


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 1000])
def test_the_rate_rises_for_a_tenth_and_falls_to_nearly_nothing(steps):
    rates = [pace(step, steps) for step in range(1, steps + 1)]
    top = rates.index(max(rates))
    assert max(rates) == 1
    assert min(rates) > 0
    assert top <= steps // 10
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[: top + 1] == sorted(rates[: top + 1])
