from __future__ import annotations

from itertools import islice

import pytest
import torch
from datasets import Dataset
from distillation.test_packing import WORDS, make_tokenizer

from fxprune.distillation.sentences import fixed_sentence_batches, sentence_batches, sentences_of
from fxprune.errors import DataError


def make_data(rows: int = 200) -> Dataset:
    sentences = [" ".join(WORDS[(7 * row + k) % 95] for k in range(1 + row % 23)) for row in range(rows)]
    return Dataset.from_dict({"text": [". ".join(sentences[i : i + 5]) + ".\n" for i in range(0, rows, 5)]})


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two!  Three?", ["One.", "Two!", "Three?"]),
        ("a title\n\nand text", ["a title", "and text"]),
        ("第一。第二！", ["第一。", "第二！"]),  # noqa: RUF001  full-width marks
        ("version 1.2 is out", ["version 1.2 is out"]),
        (" \n ", []),
    ],
)
def test_text_is_split_into_sentences(text: str, sentences: list[str]) -> None:
    assert sentences_of(text) == sentences


def test_a_batch_holds_sentences_of_one_length_and_about_as_many_tokens() -> None:
    for batch in islice(sentence_batches(make_data(), make_tokenizer(), length=16, batch_size=4), 30):
        ids = batch["input_ids"]
        assert ids.dtype == torch.int64
        assert (ids[:, 0] == 2).all()
        assert (ids[:, -1] == 3).all()
        assert batch["attention_mask"].all()
        assert ids.shape[1] <= 16
        assert 64 <= ids.numel() < 64 + ids.shape[1]


def test_short_sentences_are_left_out() -> None:
    batches = fixed_sentence_batches(make_data(), make_tokenizer(), length=16, batch_size=64, n=99)
    assert min(batch["input_ids"].shape[1] for batch in batches) == 6  # four words between the special tokens


def test_batches_are_a_function_of_seed_and_position() -> None:
    def first(seed: int, start: int, stop: int) -> list[list[int]]:
        batches = sentence_batches(make_data(), make_tokenizer(), length=16, batch_size=4, seed=seed)
        return [batch["input_ids"].flatten().tolist() for batch in islice(batches, start, stop)]

    assert first(0, 0, 6) == first(0, 0, 6)
    assert first(0, 0, 6)[4:] == first(0, 4, 6)
    assert first(0, 0, 6) != first(1, 0, 6)


def test_a_few_sentences_are_read_again_and_again() -> None:
    data = Dataset.from_dict({"text": ["w1 w2 w3 w4 w5. w6 w7 w8 w9 w0."]})
    batches = list(islice(sentence_batches(data, make_tokenizer(), length=12, batch_size=8), 3))
    assert all(batch["input_ids"].numel() >= 96 for batch in batches)


def test_held_out_batches_are_those_of_the_commonest_lengths() -> None:
    batches = fixed_sentence_batches(make_data(), make_tokenizer(), length=16, batch_size=8, n=3)
    assert len(batches) == 3
    again = fixed_sentence_batches(make_data(), make_tokenizer(), length=16, batch_size=8, n=3)
    assert all(torch.equal(a["input_ids"], b["input_ids"]) for a, b in zip(batches, again, strict=True))
    assert batches[0]["input_ids"].shape[1] == 16  # the long ones are cut to it


@pytest.mark.parametrize("texts", [["w1", "w2 w3."], ["", " "]])
def test_text_without_a_sentence_is_refused(texts: list[str]) -> None:
    data = Dataset.from_dict({"text": texts})
    with pytest.raises(DataError, match="no sentence"):
        next(sentence_batches(data, make_tokenizer(), length=16, batch_size=4))
    with pytest.raises(DataError, match="no sentence"):
        fixed_sentence_batches(data, make_tokenizer(), length=16, batch_size=4, n=1)
