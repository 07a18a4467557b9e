"""Budgets are counted exactly, and met within 1 %."""

from __future__ import annotations

from math import prod

import pytest
import torch
from models import ARCHITECTURES, model_of, traced_of

from fxprune import api
from fxprune.allocation import TOLERANCE, Budget, parse_count, solve, uniform
from fxprune.axes import Axis, factors_of, resolve
from fxprune.budget import Sizes
from fxprune.errors import PlanError, UsageError
from fxprune.groups import Groups, analyse
from fxprune.student import Student
from fxprune.widths import Constraints, Counts


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("15M", 15_000_000),
        ("17.5m", 17_500_000),
        ("1.001M", 1_001_000),
        ("2.01k", 2_010),
        ("2.3b", 2_300_000_000),
        ("1G", 10**9),
        ("14500000", 14_500_000),
        ("14_500_000", 14_500_000),
        ("14,500,000", 14_500_000),
        (" 25 % ", 250),
        ("33.3%", 333),
        ("100%", 1000),
        (700, 700),
        (15e6, 15_000_000),
    ],
)
def test_parse_count(text: str | float, count: int) -> None:
    assert parse_count(text, dense=1000) == count


def test_every_decimal_of_a_count_is_read_exactly() -> None:
    assert [parse_count(f"{n / 1000}M", 1) for n in range(1, 3000)] == [n * 1000 for n in range(1, 3000)]


@pytest.mark.parametrize("text", ["", "M", "-5", "15 megs", "1e6", "nan", "1.5.2M", "half", True])
def test_a_count_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"cannot read the target .*\n.*write it as 15M, 14500000 or 25%"):
        parse_count(text, dense=1000)


# ---------------------------------------------------------------------- counting


@pytest.mark.parametrize("name", [*ARCHITECTURES, "tied_three_ways", "conv_stem", "partial_rotary", "fused_qkv"])
def test_the_budget_foresees_what_a_cut_leaves(name: str) -> None:
    student = Student(traced_of(name))
    assert student.budget.parameters({}) == student.traced.num_parameters()
    counts = {group.name: max(1, group.size * 2 // 3) for group in student.groups.prunable}
    foreseen = student.budget.parameters(counts)
    student.cut_to(counts, {name: torch.rand(shape) for name, shape in _score_shapes(student.groups).items()})
    assert student.traced.num_parameters() == foreseen


def _score_shapes(groups: Groups) -> dict[str, tuple[int, ...]]:
    return {
        group.name: (groups[groups.ragged[group.name]].size, group.size)
        if group.name in groups.ragged
        else (group.size,)
        for group in groups.prunable
    }


def test_parameters_no_node_reads_are_counted() -> None:
    class Idle(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = torch.nn.Linear(8, 3), torch.nn.Linear(5, 7)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    traced = api.capture(Idle(), {"x": torch.randn(5, 8)})
    assert Budget.of(traced, analyse(traced)).parameters({}) == traced.num_parameters()


# ---------------------------------------------------------------------- one ratio for every axis


def _size(groups: Groups, axis: Axis, counts: Counts) -> int:
    return Budget({(axis,): 1}, Sizes.of(groups), 0).parameters(counts)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("ratio", [0.75, 0.5, 0.25])
def test_every_matrix_axis_is_near_the_ratio(name: str, ratio: float) -> None:
    groups = analyse(traced_of(name))
    counts = uniform(groups, ratio)
    cuttable = {group.factor for group in groups.prunable}
    seen = 0
    for axes in groups.inferred.tensors.values():
        for axis in map(resolve, axes):
            factors = [factor for factor in factors_of(axis) if factor in cuttable]
            if factors:
                dense, left = _size(groups, axis, {}), _size(groups, axis, counts)
                step = dense / max(factor.size for factor in factors)  # what the finest unit of it is worth
                assert abs(left - ratio * dense) <= max(step, dense / 8), (left, dense)
                seen += 1
    assert seen > 10


@pytest.mark.parametrize("name", ["bert", "llama", "t5", "gpt2"])
def test_ratio_one_keeps_everything(name: str) -> None:
    traced = traced_of(name)
    groups = analyse(traced)
    for limits in (Constraints(), api.constraints(model_of(name), traced)):
        counts = uniform(groups, 1.0, limits)
        assert counts
        assert counts == {name: groups[name].size for name in counts}


@pytest.mark.parametrize("ratio", [0.0, -1.0, 1.01, float("nan")])
def test_a_ratio_outside_its_range_is_refused(ratio: float) -> None:
    with pytest.raises(UsageError, match=r"the ratio .* is not in \(0, 1\]"):
        uniform(analyse(traced_of("bert")), ratio)


def test_heads_stay_and_get_thinner_unless_asked_otherwise() -> None:
    groups = analyse(traced_of("bert"))
    thin, fewer = uniform(groups, 0.5), uniform(groups, 0.5, thin_heads=False)
    layer = "bert.encoder.layer.0.attention"
    keys = (f"{layer}.heads", f"{layer}.self.qk", f"{layer}.value")
    assert [thin[key] for key in keys] == [4, 4, 4]
    assert [fewer[key] for key in keys] == [2, 8, 8]


def test_head_dim_is_locked_where_the_class_recomputes_the_frequencies() -> None:
    traced = traced_of("llama")
    groups = analyse(traced)
    limits = api.constraints(model_of("llama"), traced)
    locked = [group for group in groups.prunable if limits.locks(group)]
    assert [group.size for group in locked] == [4]  # half of head_dim, shared by all layers
    assert "the model class computes model.rotary_emb.inv_freq from its config" in str(limits.locks(locked[0]))
    assert locked[0].name not in uniform(groups, 0.5, limits)
    assert locked[0].name in uniform(groups, 0.5)
    with pytest.raises(PlanError, match=r"out of reach(.|\n)*the model class computes"):
        solve(Budget.of(traced, groups), groups, 10, limits)


# the steps of a tiny model are wide: four heads, so 24 or 28 of 32, and no layer may all but vanish to fill the gap
@pytest.mark.parametrize("name", ["bert", "modernbert", "gpt2", "llama"])
@pytest.mark.parametrize("percent", [90, 60, 50, 40, 25])
def test_a_tiny_model_comes_as_near_to_its_target_as_whole_units_allow(name: str, percent: int) -> None:
    traced = traced_of(name)
    groups = analyse(traced)
    budget = Budget.of(traced, groups)
    target = budget.parameters({}) * percent // 100
    counts = solve(budget, groups, target, api.constraints(model_of(name), traced))
    missed = {("gpt2", 90): 0.95, ("modernbert", 50): 0.989}
    assert missed.get((name, percent), 1 - TOLERANCE) * target <= budget.parameters(counts) <= target
    assert budget.narrowest(counts) > 0.08


def test_the_width_of_a_llama_is_a_multiple_of_its_query_heads() -> None:
    traced = traced_of("llama")
    groups = analyse(traced)
    limits = api.constraints(model_of("llama"), traced)
    for percent in range(20, 100, 10):
        budget = Budget.of(traced, groups)
        counts = solve(budget, groups, budget.parameters({}) * percent // 100, limits)
        heads = [counts[name] for name in counts if name.startswith("model.layers.0.self_attn.heads")]
        assert counts["hidden"] % prod(heads) == 0
