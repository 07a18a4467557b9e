"""A unit's score is the sum over all its slices; constant scores are refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from models import inputs_of, traced_of
from torch import Tensor

from fxprune.axes import Axis, Factor, resolve
from fxprune.errors import ScoreError
from fxprune.groups import Groups, analyse
from fxprune.importance import SCORES, magnitude, movement, score_called, sensitivity
from fxprune.student import Student
from fxprune.traced import Traced, tensor_of
from fxprune.unit_scores import UnitScorer, best_units, check_scores

Unit = tuple[Factor, int]
MODELS = ["bert", "electra", "gpt2", "llama", "t5", "fused_qkv", "tied_three_ways", "partial_rotary", "conv_stem"]


def units_at(axis: Axis) -> list[frozenset[Unit]]:
    """The units that each position of an axis belongs to, spelled out term by term."""
    found: list[frozenset[Unit]] = [frozenset()]
    for term in resolve(axis):
        if isinstance(term, Factor):
            inner = [frozenset({(term, unit)}) for unit in range(int(term.size))]  # type: ignore[call-overload]
        else:
            inner = [units for part in term.parts for units in units_at(part)]
        found = [outer | more for outer, more in product(found, inner)]
    return found


def brute_force(traced: Traced, groups: Groups, score: Callable[[Tensor], Tensor]) -> dict[str, dict]:
    """Sum a weight score over every slice of every unit, one unit and one slice at a time."""
    totals: dict[str, dict] = {group.name: {} for group in groups.prunable}
    for name, axes in groups.inferred.tensors.items():
        tensor = tensor_of(traced, name)
        if not isinstance(tensor, torch.nn.Parameter):
            continue
        for dim, axis in enumerate(axes):
            for place, units in enumerate(units_at(axis)):
                value = float(score(tensor.detach()).select(dim, place).sum())
                for factor, unit in units:
                    group = groups.by_factor[factor].name
                    if group in totals:
                        outer = groups.ragged.get(group)
                        rows = [row for f, row in units if outer and f is groups[outer].factor]
                        key = (*rows, unit)
                        totals[group][key] = totals[group].get(key, 0.0) + value
    return totals


@pytest.mark.parametrize("name", MODELS)
def test_unit_scores_equal_a_brute_force_sum_over_slices(name: str) -> None:
    traced = traced_of(name)
    groups = analyse(traced)
    found, expected = UnitScorer(groups)(traced, magnitude), brute_force(traced, groups, torch.abs)
    assert found.keys() == expected.keys()
    for group, scores in found.items():
        in_parameters = any(isinstance(tensor_of(traced, m.tensor), torch.nn.Parameter) for m in groups[group].members)
        assert len(expected[group]) == (scores.numel() if in_parameters else 0)  # a buffer has no score
        for key, value in expected[group].items():
            assert float(scores[key]) == pytest.approx(value, rel=1e-5)


def test_unit_scores_follow_a_cut() -> None:
    student = Student(traced_of("bert"))
    scorer = UnitScorer(student.groups)
    scorer(student.traced, magnitude)
    student.cut_to({"hidden": 20, "bert.encoder.layer.0.inner": 1}, scorer(student.traced, magnitude))
    found = scorer(student.traced, magnitude)
    assert "bert.encoder.layer.0.inner" not in found  # its last unit cannot be cut
    for group, scores in found.items():
        expected = brute_force(student.traced, student.groups, torch.abs)[group]
        assert torch.allclose(scores.flatten(), torch.tensor([expected[key] for key in sorted(expected)]), rtol=1e-4)


def test_scores_of_weights() -> None:
    weight, grad = torch.tensor([1.0, -2.0, 0.0]), torch.tensor([3.0, 1.0, 5.0])
    assert magnitude(weight).tolist() == [1, 2, 0]
    assert sensitivity(weight, grad).tolist() == [3, 2, 0]
    assert movement(weight, grad).tolist() == [-3, 2, 0]
    assert score_called("fisher").of_weights(weight, grad).tolist() == [9, 4, 0]
    assert score_called("random").of_weights(weight, None).shape == weight.shape


def test_an_unknown_score_lists_the_known_ones() -> None:
    with pytest.raises(ScoreError, match=r"unknown score 'magnitud'; did you mean 'magnitude'\? known: fisher, magnit"):
        score_called("magnitud")


def test_a_score_of_many_steps_is_not_for_one() -> None:
    assert score_called("platon").needs_steps
    with pytest.raises(ScoreError, match="unknown score 'platon'"):
        score_called("platon", over_time=False)


def test_a_score_without_its_gradient_says_so() -> None:
    traced = traced_of("fused_glu").requires_grad_(False)
    with pytest.raises(ScoreError, match="this score needs gradients, and a weight has none"):
        UnitScorer(analyse(traced))(traced, sensitivity)


def test_a_weight_the_loss_does_not_reach_scores_zero() -> None:
    traced = traced_of("tied_three_ways").requires_grad_(True)
    groups = analyse(traced)
    traced(**inputs_of("tied_three_ways"))[1].square().mean().backward()
    scores = UnitScorer(groups)(traced, sensitivity)
    assert all(bool((score > 0).all()) for score in scores.values())
    traced.zero_grad()
    assert all(float(score.abs().max()) == 0 for score in UnitScorer(groups)(traced, sensitivity).values())


# ---------------------------------------------------------------------- planted faults


@pytest.mark.parametrize("name", sorted(SCORES))
def test_constant_scores_are_refused(name: str) -> None:
    """Planted fault: all weights are equal, and so are their gradients."""
    traced = traced_of("fused_qkv").requires_grad_(True)
    for parameter in traced.parameters():
        parameter.data.zero_()
        parameter.grad = torch.zeros_like(parameter)
    student = Student(traced)
    scores = UnitScorer(student.groups)(traced, score_called(name).of_weights)
    if name == "random":
        check_scores(scores)
        return
    with pytest.raises(ScoreError, match=r"all units score the same(.|\n)*frozen(.|\n)*'magnitude'"):
        student.cut_to({group.name: 1 for group in student.groups.prunable}, scores)
    assert student.traced.num_parameters() == traced_of("fused_qkv").num_parameters()  # nothing was cut


def test_one_constant_group_among_others_is_accepted() -> None:
    check_scores({"a": torch.ones(4), "b": torch.arange(3.0)})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ScoreError, match="the scores of group 'b' are not finite"):
        best_units({"a": torch.arange(3.0), "b": torch.tensor([1.0, bad])}, {"a": 1, "b": 1})


# ---------------------------------------------------------------------- the best units


def test_the_best_units_stay_and_ties_go_to_the_lower_index() -> None:
    masks = best_units({"a": torch.tensor([1.0, 3.0, 3.0, 2.0, 3.0])}, {"a": 2})
    assert masks["a"].tolist() == [False, True, True, False, False]


def test_a_ragged_group_keeps_the_best_of_each_row() -> None:
    masks = best_units({"a": torch.tensor([[1.0, 2.0, 3.0], [9.0, 8.0, 7.0]])}, {"a": 2})
    assert masks["a"].tolist() == [[False, True, True], [True, True, False]]


def test_only_groups_that_are_due_are_cut() -> None:
    assert best_units({"a": torch.arange(3.0), "b": torch.full((2,), float("nan"))}, {"a": 3}).keys() == {"a"}


def test_per_matrix_every_tensor_has_the_same_say() -> None:
    """One matrix a thousand times larger outvotes all others, unless each is divided by its sum."""
    traced = traced_of("bert")
    scorer = UnitScorer(analyse(traced), per_matrix=True)
    before = scorer(traced, magnitude)
    with torch.no_grad():
        tensor_of(traced, "bert.embeddings.word_embeddings.weight").mul_(1000)
    after = scorer(traced, magnitude)
    assert all(torch.allclose(after[name], score) for name, score in before.items())
    plain = UnitScorer(analyse(traced))(traced, magnitude)["hidden"]
    assert not torch.allclose(plain / plain.sum(), after["hidden"] / after["hidden"].sum(), rtol=0.01)
