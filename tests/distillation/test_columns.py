"""What a model reads of a data set is found by the types of its columns, and asked for where it is not clear."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import Array3D, ClassLabel, Features, Image, List, Translation, Value
from labelled import write_rows

from fxprune.distillation.columns import Columns, check_dataset, find_columns, has_pairs
from fxprune.distillation.objective import FEATURES, IMAGES, REGRESSION, SEQ2SEQ, SEQUENCES, TOKENS, Objective
from fxprune.errors import DataError

TEXT, NUMBER, LABEL = Value("string"), Value("int64"), ClassLabel(names=["no", "yes"])
INPUTS = ("input_ids", "attention_mask")
CLASSES = Objective(SEQUENCES, 0, INPUTS, 2)
TAGS = Objective(TOKENS, 0, INPUTS, 3)
PICTURES = Objective(IMAGES, 0, ("pixel_values",), 2, pixels=(3, 24, 24))
PAIRS = Objective(SEQ2SEQ, 0, (*INPUTS, "decoder_input_ids"), start=0)


def found(features: dict, objective: Objective, content: str | None = None, target: str | None = None) -> Columns:
    return find_columns("data", Features(features), objective, content, target)


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"sentence": TEXT, "label": NUMBER, "idx": NUMBER}, (("sentence",), "label")),
        ({"title": TEXT, "text": TEXT, "sentiment": TEXT}, (("text",), "sentiment")),
        ({"body": TEXT, "stars": Value("float32")}, (("body",), "stars")),
        ({"premise": TEXT, "hypothesis": TEXT, "label": LABEL}, (("premise", "hypothesis"), "label")),
        ({"question": TEXT, "sentence": TEXT, "label": LABEL}, (("question", "sentence"), "label")),
        ({"text": TEXT}, (("text",), None)),
        ({"text": TEXT, "a": NUMBER, "b": LABEL}, (("text",), "b")),
    ],
)
def test_texts_and_their_labels(features: dict, expected: tuple) -> None:
    columns = found(features, CLASSES)
    assert (columns.content, columns.target) == expected


def test_a_column_that_is_named_is_taken() -> None:
    features = {"a": TEXT, "b": TEXT, "c": TEXT, "x": NUMBER, "y": NUMBER}
    assert found(features, CLASSES, "c,a", "y") == Columns(content=("c", "a"), target="y")


def test_classes_bring_their_names() -> None:
    assert found({"text": TEXT, "label": LABEL}, CLASSES).names == ("no", "yes")
    tags = List(ClassLabel(names=["a", "b", "c"]))
    assert found({"tokens": List(TEXT), "tags": tags}, TAGS).names == ("a", "b", "c")


def test_of_several_tags_the_one_with_as_many_classes_counts() -> None:
    many, few = List(ClassLabel(names=list("abcdefg"))), List(ClassLabel(names=list("abc")))
    columns = found({"tokens": List(TEXT), "pos_tags": many, "chunk_tags": few}, TAGS)
    assert (columns.content, columns.target) == (("tokens",), "chunk_tags")


def test_tags_may_be_missing() -> None:
    assert found({"text": TEXT}, TAGS) == Columns(content=("text",), target=None)


@pytest.mark.parametrize("image", [Image(), Value("binary"), Array3D((3, 8, 8), "float32"), List(List(List(NUMBER)))])
def test_images_are_files_bytes_or_planes(image: object) -> None:
    assert found({"picture": image, "label": LABEL}, PICTURES) == Columns(
        content=("picture",), target="label", names=("no", "yes")
    )


def test_features_of_images_need_no_label() -> None:
    objective = Objective(FEATURES, None, ("pixel_values",), pixels=(3, 24, 24))
    assert found({"image": Image(), "a": NUMBER, "b": NUMBER}, objective).target is None


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"document": TEXT, "summary": TEXT, "id": TEXT}, (("document",), "summary")),
        ({"question": TEXT, "answer": TEXT}, (("question",), "answer")),
        ({"tgt": TEXT, "src": TEXT}, (("src",), "tgt")),
        ({"text": TEXT}, (("text",), None)),
        ({"translation": Translation(languages=["de", "en"])}, (("translation",), "translation")),
        ({"translation": {"en": TEXT, "fr": TEXT}}, (("translation",), "translation")),
    ],
)
def test_sources_and_targets(features: dict, expected: tuple) -> None:
    columns = found(features, PAIRS)
    assert (columns.content, columns.target) == expected


def test_translations_go_either_way() -> None:
    features = {"translation": {"en": TEXT, "fr": TEXT}}
    assert found(features, PAIRS).names == ("en", "fr")
    assert found(features, PAIRS, "fr", "en").names == ("fr", "en")
    assert found(features, PAIRS, None, "en").names == ("fr", "en")


@pytest.mark.parametrize(
    ("features", "objective", "complaint"),
    [
        ({"a": TEXT, "b": TEXT, "c": TEXT}, CLASSES, r"no text column\n.*a, b, c\n.*call one of them text_column"),
        (
            {"text": TEXT, "a": NUMBER, "b": NUMBER},
            CLASSES,
            r"no label column that is clear\n.*\n.*target_column: a, b",
        ),
        ({"text": TEXT, "label": NUMBER}, PICTURES, r"no image column\n.*text, label\n.*give a data set with one"),
        ({"en": TEXT, "fr": TEXT}, PAIRS, r"no columns of source and target that are clear\n.*\n.*: en, fr"),
        ({"n": NUMBER}, PAIRS, "no text column"),
    ],
)
def test_what_is_not_clear_is_asked_for(features: dict, objective: Objective, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        found(features, objective)


def test_a_column_that_is_not_there_gets_the_nearest_name() -> None:
    with pytest.raises(DataError, match="unknown target column 'lable'; did you mean 'label'"):
        found({"text": TEXT, "label": NUMBER}, CLASSES, target="lable")
    with pytest.raises(DataError, match="unknown text column 'txet'; did you mean 'text'"):
        found({"text": TEXT, "label": NUMBER}, Objective(REGRESSION, 0, INPUTS, 1), "txet")


def test_pairs_are_known_by_their_names() -> None:
    assert has_pairs(Features({"sentence1": TEXT, "sentence2": TEXT}))
    assert not has_pairs(Features({"sentence1": TEXT, "sentence2": NUMBER}))


def test_data_of_numbers_alone_are_refused_before_any_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no text column\n.*its columns are n\n.*give a data set with text or images"):
        check_dataset(write_rows(tmp_path, [{"n": 1}]), None, None)
