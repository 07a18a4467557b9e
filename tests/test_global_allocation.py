"""A global allocation lets the least score per saved cost go, meets its budget, and never widens."""

from __future__ import annotations

import itertools

import pytest
import torch
from models import inputs_of, model_of, traced_of

import fxprune
from fxprune import api
from fxprune.budget import Budget
from fxprune.errors import PlanError, ScoreError, UsageError
from fxprune.flops import FlopBudget
from fxprune.global_allocation import GlobalAllocation
from fxprune.goal import Goal
from fxprune.groups import Groups
from fxprune.student import Student
from fxprune.unit_scores import UnitScores, random_units
from fxprune.widths import Constraints


def scores_of(groups: Groups, seed: int = 0) -> UnitScores:
    """Scores in proportion to what a unit holds, so that none is cheap by its kind."""
    torch.manual_seed(seed)
    held = {group.name: len(group.members) for group in groups.prunable}
    return {name: score * held[name] for name, score in random_units(groups).items()}


@pytest.mark.parametrize("name", ["bert", pytest.param("gpt2", marks=pytest.mark.slow), "llama"])
@pytest.mark.parametrize("percent", [80, 30])
def test_the_budget_is_met_from_below(name: str, percent: int) -> None:
    traced = traced_of(name)
    student = Student(traced)
    for cost in (student.budget, FlopBudget.of(traced, student.groups)):
        target = cost.count({}) * percent // 100
        counts = GlobalAllocation(cost, student.groups, target).counts(scores_of(student.groups))
        assert 0.97 * target <= cost.count(counts) <= target  # the steps of a tiny model are wide
        assert all(counts[key] >= 0.1 * student.groups[key].size for key in counts)


def test_layers_end_at_different_widths_unless_the_class_has_one_for_all() -> None:
    traced = traced_of("bert")
    student, limits = Student(traced), api.constraints(model_of("bert"), traced)
    target = student.budget.parameters({}) // 2
    scores = scores_of(student.groups)
    layers = [f"bert.encoder.layer.{i}.inner" for i in (0, 1)]
    scores[layers[0]] *= 100
    free = GlobalAllocation(student.budget, student.groups, target).counts(scores)
    bound = GlobalAllocation(student.budget, student.groups, target, limits).counts(scores)
    assert free[layers[0]] == 48
    assert free[layers[1]] < 48
    assert bound[layers[0]] == bound[layers[1]]


def test_it_is_the_best_there_is_where_all_combinations_can_be_tried() -> None:
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = torch.nn.Linear(6, 9), torch.nn.Linear(9, 5), torch.nn.Linear(5, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c(self.b(self.a(x).relu()).relu())

    traced = api.capture(Two(), {"x": torch.randn(7, 6)})
    groups = api.analyse(traced)
    cost, scores = Budget.of(traced, groups), scores_of(groups)
    names, sizes = list(scores), [groups[name].size for name in scores]
    assert sizes == [9, 5]

    def lost(counts: dict[str, int]) -> float:
        return sum(float(scores[name].sort().values[: groups[name].size - n].sum()) for name, n in counts.items())

    for target in range(40, 130, 7):
        found = GlobalAllocation(cost, groups, target, min_keep=0.0).counts(scores)
        every = [dict(zip(names, n, strict=True)) for n in itertools.product(*(range(1, size + 1) for size in sizes))]
        best = min(lost(counts) for counts in every if cost.count(counts) <= target)
        assert cost.count(found) <= target
        assert lost(found) <= best + 0.5 * max(float(score.max()) for score in scores.values())


def test_on_the_way_the_budget_falls_and_no_group_widens() -> None:
    student = Student(traced_of("bert"))
    spread = GlobalAllocation(student.budget, student.groups, student.budget.parameters({}) * 3 // 10)
    before = dict(spread.dense)
    for seed, left in enumerate((1.0, 0.6, 0.3, 0.1, 0.0)):
        scores = scores_of(student.groups, seed)  # opinions change
        counts = spread.counts(scores, left)
        bound = spread.target + round((spread.total - spread.target) * left)
        assert 0.93 * bound <= student.budget.parameters(counts) <= bound
        assert all(n <= before[name] for name, n in counts.items())
        student.cut_to(counts, scores)
        before = counts
    assert 0.97 * spread.target <= student.traced.num_parameters() <= spread.target


def test_a_target_is_still_met_after_many_cuts_whatever_the_scores_say_meanwhile() -> None:
    """The class leaves few widths: those chosen at first stay open to the end."""
    traced = traced_of("bert")
    student = Student(traced)
    target = student.budget.parameters({}) // 2
    spread = GlobalAllocation(student.budget, student.groups, target, api.constraints(model_of("bert"), traced))
    reached = student.budget.parameters(spread.counts(scores_of(student.groups)))
    for seed, left in enumerate((0.9, 0.7, 0.5, 0.3, 0.1, 0.0)):
        scores = scores_of(student.groups, seed)
        student.cut_to(spread.counts(scores, left), scores)
    assert student.traced.num_parameters() >= min(reached, 0.99 * target)


def test_prune_and_make_plan_take_it() -> None:
    model, inputs = model_of("bert"), inputs_of("bert")
    options = {"target_flops": "50%", "length": 16, "allocation": "global"}
    plan = fxprune.make_plan(model, inputs, **options)  # type: ignore[arg-type]
    slim = fxprune.prune(model, inputs, **options, verify=True)  # type: ignore[arg-type]
    assert slim.plan == plan
    assert slim.certificate.holds
    dense = Student(traced_of("bert")).flops(1, 16)
    assert 0.49 * dense < FlopBudget.of(slim, slim.meta["groups"], length=16).flops() <= 0.5 * dense


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target_params": "0.01%"}, PlanError, r"out of reach\n.*with 10% of every group kept, [\d,]+ are left"),
        ({"target_flops": "0.01%"}, PlanError, r"FLOPs is out of reach\n.*with 10% of every group kept"),
        ({"target_flops": "1T"}, PlanError, r"the target of 1,000,000,000,000 FLOPs is larger than the model"),
        ({"target_params": "30%", "min_keep": 0.9}, PlanError, r"with 90% of every group kept"),
        ({"target_params": "30%", "min_keep": 2}, UsageError, "min_keep is 2"),
        ({"ratio": 0.5}, UsageError, "a ratio is the same in every matrix"),
        ({"target_params": "30%", "allocation": "globl"}, UsageError, "did you mean 'global'"),
        ({"target_params": "30%", "allocation": "uniform", "min_keep": 0.1}, UsageError, "min_keep is the floor of a"),
        ({"target_params": "30%", "target_flops": "1G"}, UsageError, "given: target_params, target_flops"),
    ],
)
def test_what_cannot_be_met_or_meant_is_told(options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        fxprune.make_plan(model_of("bert"), inputs_of("bert"), **{"allocation": "global"} | options)


def test_scores_that_are_all_the_same_are_no_reason_for_a_choice() -> None:
    student = Student(traced_of("bert"))
    spread = GlobalAllocation(student.budget, student.groups, 10_000)
    with pytest.raises(ScoreError, match="all units score the same"):
        spread.counts({name: torch.ones_like(score) for name, score in scores_of(student.groups).items()})


# ---------------------------------------------------------------------- rounded sizes


@pytest.mark.parametrize("allocation", ["uniform", "global"])
@pytest.mark.parametrize("name", ["bert", pytest.param("gpt2", marks=pytest.mark.slow)])
def test_kept_sizes_are_multiples_and_the_target_is_met(name: str, allocation: str) -> None:
    traced = traced_of(name)
    groups = api.analyse(traced)
    for limits in (Constraints(), api.constraints(model_of(name), traced)):
        goal = Goal(target_params="60%", round_to=4, allocation=allocation)  # type: ignore[arg-type]
        counts = goal.counts(traced, groups, limits, scores_of(groups))
        for group in (groups[key] for key in counts):
            assert group.role == "heads" or group.size % 4 or counts[group.name] % 4 == 0
        dense, left = (Budget.of(traced, groups).parameters(some) for some in ({}, counts))
        assert 0.45 * dense < left <= 0.6 * dense


@pytest.mark.parametrize(
    ("round_to", "message"),
    [
        (64, r"no group can be rounded to a multiple of 64\n.*the largest has 48 units"),
        (7, r"a multiple of 7\n.*no size is a multiple of it now"),
        (0, "round_to is 0"),
    ],
)
def test_a_multiple_nothing_can_be_rounded_to_is_refused(round_to: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fxprune.make_plan(model_of("bert"), inputs_of("bert"), target_params="50%", round_to=round_to)
