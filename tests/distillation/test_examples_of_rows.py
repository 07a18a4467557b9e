"""Rows of texts, tags, pairs and images become padded batches in which only what is real is labelled."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from labelled import classified, pictures, summarised, tagged
from text import sentences, tokenizer

from fxprune.distillation.columns import Columns
from fxprune.distillation.grouped import fixed_grouped_batches, grouped_batches
from fxprune.distillation.images import ImageEncoder
from fxprune.distillation.labelled import TextEncoder
from fxprune.distillation.labels import Labels
from fxprune.distillation.losses import IGNORED
from fxprune.distillation.objective import IMAGES, REGRESSION, SEQ2SEQ, SEQUENCES, TOKENS, Objective
from fxprune.distillation.pairs import PairEncoder
from fxprune.distillation.tables import features_of, read_table
from fxprune.errors import DataError

INPUTS = ("input_ids", "attention_mask")


def texts(name: str = SEQUENCES, classes: int = 2, length: int = 40, target: str | None = "label") -> TextEncoder:
    objective = Objective(name, 0, INPUTS, classes)
    columns = Columns(content=("words",), target=target)
    return TextEncoder(tokenizer(), objective, columns, Labels("data", objective), length)


def test_sequences_are_padded_and_padding_is_known() -> None:
    encode = texts()
    examples = encode({"words": ["the cat", "a dog sees the river"], "label": [1, 0]})
    batch = encode.batch(examples)
    assert batch.inputs["input_ids"].shape == (2, 7)
    assert batch.inputs["attention_mask"].sum(1).tolist() == [4, 7]
    assert torch.equal(batch.real["input_ids"], batch.inputs["attention_mask"].bool())
    assert (batch.inputs["input_ids"][~batch.real["input_ids"]] == tokenizer().pad_token_id).all()
    assert batch.labels is not None
    assert batch.labels.tolist() == [1, 0]
    assert tuple(batch.inputs) == INPUTS


def test_rows_without_text_or_label_are_left_out() -> None:
    encode = texts()
    assert len(encode({"words": ["the cat", "", None, "a dog"], "label": [1, 1, 1, -1]})) == 1
    assert encode({"words": ["", None], "label": [0, 0]}) == []
    assert len(texts(target=None)({"words": ["the cat", "a dog"], "label": [5, 5]})) == 2


def test_long_texts_are_cut() -> None:
    (example,) = texts(length=12)({"words": sentences(1), "label": [0]})
    assert len(example.inputs["input_ids"]) == 12


def test_the_first_piece_of_a_word_has_its_tag() -> None:
    encode = texts(TOKENS, 3)
    (example,) = encode({"words": [["the", "cat.", "sees"]], "label": [[2, 1, 0]]})
    assert example.labels.tolist() == [IGNORED, 2, 1, IGNORED, 0, IGNORED]  # the full stop is a piece of its own


def test_without_tags_all_but_special_tokens_are_compared() -> None:
    (example,) = texts(TOKENS, 3, target=None)({"words": ["the cat"]})
    assert example.labels.tolist() == [IGNORED, 0, 0, IGNORED]


def test_numbers_stay_numbers() -> None:
    encode = texts(REGRESSION, 1)
    batch = encode.batch(encode({"words": ["the cat", "a dog"], "label": [0.5, 2]}))
    assert batch.labels is not None
    assert batch.labels.tolist() == [0.5, 2.0]


def test_rows_are_padded_to_the_only_length_a_model_takes() -> None:
    encode = texts(length=12)
    encode.objective = replace(encode.objective, exact=True)
    batch = encode.batch(encode({"words": ["the cat", "a dog sees the river"], "label": [1, 0]}))
    assert batch.inputs["input_ids"].shape == (2, 12)
    assert batch.inputs["attention_mask"].sum(1).tolist() == [4, 7]


def test_a_pair_has_the_types_of_its_tokens() -> None:
    objective = Objective(SEQUENCES, 0, (*INPUTS, "token_type_ids"), 2)
    columns = Columns(content=("a", "b"), target="label")
    own = tokenizer()
    encode = TextEncoder(own, objective, columns, Labels("data", objective), 40)
    batch = encode.batch(encode({"a": ["the cat"], "b": ["a dog"], "label": [1]}))
    assert batch.inputs["token_type_ids"].shape == batch.inputs["input_ids"].shape
    assert batch.inputs["token_type_ids"].tolist() == [[0, 0, 1, 1]]
    assert batch.inputs["input_ids"][0].tolist() == own("the cat", "a dog")["input_ids"]


def test_a_tokenizer_without_padding_is_refused() -> None:
    with pytest.raises(DataError, match="the tokenizer has no padding token"):
        PairEncoder(SimpleNamespace(pad_token_id=None), Objective(SEQ2SEQ, 0, ()), Columns(content=(), target=None), 8)


def test_targets_are_padded_and_ignored_there() -> None:
    inputs = (*INPUTS, "decoder_input_ids")
    encode = PairEncoder(tokenizer(), Objective(SEQ2SEQ, 0, inputs, start=0), Columns(content=("s",), target="t"), 40)
    batch = encode.batch(encode({"s": ["the cat sees", "a dog", "x"], "t": ["a", "the old king", None]}))
    assert batch.labels is not None
    assert batch.labels.shape == batch.inputs["decoder_input_ids"].shape == (2, 5)
    assert (batch.labels == IGNORED).tolist() == (~batch.real["decoder_input_ids"]).tolist()
    assert batch.real["decoder_input_ids"].sum(1).tolist() == [3, 5]
    assert batch.inputs["decoder_input_ids"][:, 0].tolist() == [0, 0]
    assert torch.equal(batch.inputs["decoder_input_ids"][1, 1:], batch.labels[1, :-1])
    assert tuple(batch.inputs) == inputs


# ---------------------------------------------------------------------- images


def images(shape: tuple[int, int, int] = (3, 24, 16), processor: object = None) -> ImageEncoder:
    objective = Objective(IMAGES, 0, ("pixel_values",), 2, pixels=shape)
    columns = Columns(content=("image",), target="label")
    return ImageEncoder(processor, objective, columns, Labels("data", objective), shape)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_resized_and_scaled(channels: int) -> None:
    encode = images((channels, 24, 16))
    white, black = np.full((8, 9, 3), 255, np.uint8), np.zeros((8, 9), np.uint8)
    batch = encode.batch(encode({"image": [white.tolist(), black], "label": [0, 1]}))
    assert batch.inputs["pixel_values"].shape == (2, channels, 24, 16)
    assert batch.inputs["pixel_values"].mean((1, 2, 3)).tolist() == [1.0, -1.0]
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 1]


def test_planes_of_numbers_are_taken_as_they_are() -> None:
    encode, planes = images(), np.random.default_rng(0).normal(size=(3, 24, 16))
    (example,) = encode({"image": [planes.tolist()], "label": [1]})
    torch.testing.assert_close(example.pixels, torch.from_numpy(planes).float())


def test_planes_of_another_size_are_refused() -> None:
    with pytest.raises(DataError, match="an image is 3 x 8 x 8 once it is prepared, and the model takes 3 x 24 x 16"):
        images()({"image": [np.zeros((3, 8, 8), np.float32)], "label": [1]})


def test_bytes_that_are_no_image_are_refused() -> None:
    with pytest.raises(DataError, match=r"the image x\.png cannot be read"):
        images()({"image": [{"bytes": b"nothing", "path": "x.png"}], "label": [1]})


def test_the_processor_of_the_model_decides() -> None:
    from transformers import AutoImageProcessor  # noqa: F401  the one without torchvision
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    processor = ViTImageProcessorPil(size={"height": 24, "width": 16}, image_mean=[0.0] * 3, image_std=[1.0] * 3)
    (example,) = images(processor=processor)({"image": [np.full((8, 9, 3), 255, np.uint8)], "label": [1]})
    assert example.pixels.unique().tolist() == [1.0]


# ---------------------------------------------------------------------- tables and batches


def test_a_folder_of_images_is_a_data_set(tmp_path: Path) -> None:
    folder = pictures(tmp_path, 12)
    assert features_of(folder)["label"].names == ["bright", "dark"]
    rows, held_out = (read_table(folder, "image", split=split) for split in ("train", "held_out"))
    assert (len(rows), len(held_out)) == (11, 1)
    encode = images()
    for batch in fixed_grouped_batches(rows, encode, batch_size=4, n=10):
        assert batch.labels is not None
        bright = batch.inputs["pixel_values"].mean((1, 2, 3)) > 0
        assert torch.equal(bright, batch.labels == 0)


def test_a_csv_file_is_a_data_set(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("sentence,label\n" + "".join(f'"the cat, and {i} dogs",{i % 2}\n' for i in range(60)))
    rows = read_table(str(path), "sentence", split="train")
    assert set(rows["label"]) == {0, 1}
    assert features_of(str(path))["sentence"].dtype in ("string", "large_string")


def test_held_out_rows_are_the_same_whatever_the_seed(tmp_path: Path) -> None:
    data = classified(tmp_path)
    first, other = (read_table(data, "sentence", split="train", seed=seed) for seed in (0, 1))
    assert first["sentence"] != other["sentence"]
    assert sorted(first["sentence"]) == sorted(other["sentence"])
    held_out = read_table(data, "sentence", split="held_out")
    assert not set(held_out["idx"]) & set(first["idx"])
    assert len(held_out) + len(first) == 120


def test_one_row_cannot_be_held_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has one row, so none can be held out"):
        read_table(classified(tmp_path, 1), "sentence", split="held_out")


def test_every_row_comes_once_an_epoch_and_like_lengths_together(tmp_path: Path) -> None:
    rows = read_table(tagged(tmp_path), "tokens", split="train")
    objective = Objective(TOKENS, 0, INPUTS, 3)
    columns = Columns(content=("tokens",), target="ner_tags")
    encode = TextEncoder(tokenizer(), objective, columns, Labels("data", objective), 40)
    first = list(islice(grouped_batches(rows, encode, batch_size=9), 13))  # 117 rows
    seen = [tuple(row[mask].tolist()) for b in first for row, mask in zip(*_ids(b), strict=True)]
    everything = [
        tuple(encode({"tokens": [r["tokens"]], "ner_tags": [r["ner_tags"]]})[0].inputs["input_ids"].tolist())
        for r in rows
    ]
    assert sorted(seen) == sorted(everything)
    padding = sum(int((~b.real["input_ids"]).sum()) for b in first) / sum(b.real["input_ids"].numel() for b in first)
    assert padding < 0.05
    again = list(islice(grouped_batches(rows, encode, batch_size=9), 13))
    assert all(torch.equal(a.inputs["input_ids"], b.inputs["input_ids"]) for a, b in zip(first, again, strict=True))


def _ids(batch):
    return batch.inputs["input_ids"], batch.real["input_ids"]


def test_rows_that_fill_no_batch_wait_for_the_next_epoch(tmp_path: Path) -> None:
    rows = read_table(summarised(tmp_path, 4), "document", split="train")  # three rows
    columns = Columns(content=("document",), target="summary")
    encode = PairEncoder(tokenizer(), Objective(SEQ2SEQ, 0, INPUTS, start=0), columns, 40)
    stream = grouped_batches(rows, encode, batch_size=5)
    assert [next(stream).rows for _ in range(4)] == [5] * 4


def test_data_in_which_no_row_can_be_used_are_refused(tmp_path: Path) -> None:
    rows = read_table(classified(tmp_path), "sentence", split="train")
    with pytest.raises(DataError, match="no row of the data set can be used"):
        next(grouped_batches(rows.map(lambda row: {"label": -1, "words": row["sentence"]}), texts(), batch_size=2))
