from __future__ import annotations

import pytest
import torch
from models import traced_of
from torch import Tensor

from fxprune.importance import magnitude
from fxprune.smoothing import Platon, Smoothed, smoothing_for
from fxprune.student import Student
from fxprune.unit_scores import UnitScorer


def test_smoothing_is_an_exponential_average_that_starts_at_the_first_score() -> None:
    average = Smoothed(0.75)
    average.update({"a": torch.tensor([4.0])})
    assert average.update({"a": torch.tensor([0.0])})["a"].tolist() == [3.0]
    assert average.update({"a": torch.tensor([1.0])})["a"].tolist() == [2.5]


def test_smoothing_keeps_no_hold_on_the_scores_it_was_given() -> None:
    average, score = Smoothed(), torch.tensor([1.0, 2.0])
    average.update({"a": score})
    score.zero_()
    assert average.value["a"].tolist() == [1.0, 2.0]


CUTS = {
    "plain": ["hidden", "bert.encoder.layer.0.inner"],
    "outer": ["bert.encoder.layer.0.attention.heads"],
    "ragged": ["bert.encoder.layer.0.attention.value", "bert.encoder.layer.1.attention.self.qk"],
    "outer and ragged at once": ["bert.encoder.layer.0.attention.heads", "bert.encoder.layer.0.attention.value"],
    "all": [],
}


@pytest.mark.parametrize("kind", CUTS)
def test_an_average_follows_a_cut_as_if_scored_anew(kind: str) -> None:
    """A score that never changes (the dense place of each unit) is the same, sliced or computed anew."""
    student = Student(traced_of("bert"))
    scorer, average = UnitScorer(student.groups), Smoothed()
    names = CUTS[kind] or [group.name for group in student.groups.prunable]
    for fraction in (0.8, 0.5):
        average.update({group.name: places(student, group.name) for group in student.groups.prunable})
        counts = {name: int(student.groups[name].size * fraction) for name in names}
        masks = student.cut_to(counts, scorer(student.traced, magnitude))
        assert masks.keys() == set(names)
        average.cut(masks, student.groups.ragged)
        for group in student.groups.prunable:
            assert torch.equal(average.value[group.name], places(student, group.name)), group.name


def places(student: Student, name: str) -> Tensor:
    """The dense place of each unit that is left: 1000 x row + unit where units stand in rows."""
    units, outer = student.ledger.left(name).float(), student.groups.ragged.get(name)
    return units if outer is None else student.ledger.left(outer).float()[:, None] * 1000 + units


def test_platon_is_the_mean_times_the_spread() -> None:
    average = Platon(0.5, 0.75)
    average.update({"a": torch.tensor([4.0, 1.0])})
    assert average.value["a"].tolist() == [2.0 * 0.5, 0.5 * 0.125]  # mean 2 and 0.5, spread a quarter of 2 and 0.5
    average.update({"a": torch.tensor([0.0, 0.5])})
    assert average.value["a"].tolist() == [1.0 * (0.75 * 0.5 + 0.25 * 1.0), 0.5 * (0.75 * 0.125)]


def test_platon_keeps_what_is_uncertain() -> None:
    steady, wild = Platon(), Smoothed()
    for step in range(40):
        scores = {"a": torch.tensor([1.0, 0.9 + 0.8 * (-1) ** step])}
        steady.update(scores)
        wild.update(scores)
    assert wild.value["a"][0] > wild.value["a"][1]
    assert steady.value["a"][0] < steady.value["a"][1]


def test_platon_follows_a_cut_in_mean_and_spread() -> None:
    average = Platon()
    for _ in range(3):
        average.update({"a": torch.rand(4), "b": torch.rand(2)})
    before = average.value["a"].clone()
    average.cut({"a": torch.tensor([True, False, False, True])}, {})
    assert torch.equal(average.value["a"], before[[0, 3]])
    assert average.update({"a": torch.rand(2), "b": torch.rand(2)})["b"].shape == (2,)


@pytest.mark.parametrize(("name", "kind"), [("platon", Platon), ("sensitivity", Smoothed), ("movement", Smoothed)])
def test_the_score_chooses_its_average(name: str, kind: type) -> None:
    assert type(smoothing_for(name, 0.8)) is kind
    assert smoothing_for(name, 0.8).beta == 0.8
