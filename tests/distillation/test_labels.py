"""Labels become the numbers of the model's classes, by name where there are names."""

from __future__ import annotations

import pytest

from fxprune.distillation.labels import Labels
from fxprune.distillation.objective import REGRESSION, SEQUENCES, Objective
from fxprune.errors import DataError


def labels(*names: str, classes: int = 3, known: tuple[str, ...] = ()) -> Labels:
    return Labels("data", Objective(SEQUENCES, 0, ("input_ids",), classes, class_names=known), names)


@pytest.mark.parametrize(("value", "number"), [(2, 2), ("1", 1), (True, 1), (0.0, 0), (-1, None), (None, None)])
def test_numbers_are_classes_and_minus_one_is_none(value: object, number: int | None) -> None:
    assert labels()(value) == number


def test_names_go_before_numbers() -> None:
    """The data call 0 what the model calls 2."""
    read = labels("Entailment", "neutral", "contradiction", known=("contradiction", "neutral", "entailment"))
    assert [read(0), read(1), read(2), read("neutral")] == [2, 1, 0, 1]


def test_names_the_model_does_not_have_change_nothing() -> None:
    assert labels("good", "bad", classes=2, known=("yes", "no"))(1) == 1
    assert labels("good", "bad", classes=2)("bad") == 1


@pytest.mark.parametrize("value", [3, -2, 0.5])
def test_a_class_the_model_does_not_have(value: object) -> None:
    with pytest.raises(DataError, match=f"label {value}, and the model has 3 classes\n.*labels from 0 to 2"):
        labels()(value)


def test_a_name_the_model_does_not_have() -> None:
    with pytest.raises(DataError, match=r"label 'maybe', which is no class of the model\n.*classes are yes, no\n"):
        labels(classes=2, known=("yes", "no"))("maybe")


def test_a_regression_reads_numbers() -> None:
    read = Labels("data", Objective(REGRESSION, 0, ("input_ids",), 1))
    assert [read(3), read("2.5"), read(float("nan")), read(-1)] == [3.0, 2.5, None, -1.0]
    with pytest.raises(DataError, match="label 'much', and the model predicts a number"):
        read("much")
