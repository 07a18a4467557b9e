"""FLOPs read off the axis types are those that PyTorch counts while it runs the model."""

from __future__ import annotations

import pytest
import torch
from models import ALL, Inputs, model_of, traced_of
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fxprune import api
from fxprune.allocation import TOLERANCE, parse_count, solve
from fxprune.errors import AnalysisError, PlanError
from fxprune.flops import FlopBudget, length_counted
from fxprune.groups import analyse
from fxprune.student import Student
from fxprune.unit_scores import random_units

QUICK = ["bert", "llama_gqa", "t5", "einsum_attention", "conv_stem", "tied_three_ways", "folded_heads"]
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ALL]


def counted(model: nn.Module, inputs: Inputs) -> int:
    """What PyTorch counts; of fused attention only where it is not fused."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model(**inputs)
    return counter.get_total_flops()


def inputs_of(name: str, batch: int, length: int) -> Inputs:
    given = ALL[name].inputs(batch, length)
    if "decoder_input_ids" in given:  # both texts have the one length
        given["decoder_input_ids"] = given["input_ids"]
    return {key: value.double() if value.is_floating_point() else value for key, value in given.items()}


def test_pictures_have_no_length() -> None:
    assert length_counted(traced_of("bert"), 32) == 32
    assert length_counted(traced_of("conv_stem"), 32) is None


@pytest.mark.parametrize("name", NAMES)
def test_flops_are_those_of_the_model_dense_and_slim(name: str) -> None:
    student = Student(traced_of(name))
    budget = FlopBudget.of(student.traced, student.groups, batch=3, length=11)
    dense = budget.flops()
    assert dense == counted(model_of(name), inputs_of(name, 3, 11))
    counts = {group.name: max(1, group.size * 2 // 3) for group in student.groups.prunable}
    foreseen = budget.flops(counts)
    student.cut_to(counts, random_units(student.groups))
    assert foreseen < dense
    assert budget.flops() == student.flops(3, 11) == foreseen == counted(student.traced, inputs_of(name, 3, 11))


def test_attention_grows_with_the_square_of_the_length() -> None:
    student = Student(traced_of("bert"))
    once, twice, four = (student.flops(1, length) for length in (8, 16, 32))
    assert four - 2 * twice == 4 * (twice - 2 * once)
    assert student.flops(2, 8) == 2 * once


@pytest.mark.parametrize("name", ["bert", "llama"])
@pytest.mark.parametrize("percent", [60, 25])
def test_a_target_in_flops_is_met(name: str, percent: int) -> None:
    traced = traced_of(name)
    groups = analyse(traced)
    budget = FlopBudget.of(traced, groups)
    target = parse_count(f"{percent}%", budget.flops())
    found = budget.flops(solve(budget, groups, target))
    assert (1 - 5 * TOLERANCE) * target <= found <= target  # the steps of a tiny model are wide


def test_a_target_out_of_reach_is_told_in_flops() -> None:
    traced = traced_of("bert")
    groups = analyse(traced)
    budget = FlopBudget.of(traced, groups)
    with pytest.raises(PlanError, match=r"the target of 10 FLOPs is out of reach\n.*the smallest reachable size is"):
        solve(budget, groups, 10)
    with pytest.raises(PlanError, match=rf"FLOPs is larger than the model\n.*it has {budget.flops():,}"):
        solve(budget, groups, 10**12)


def test_a_size_that_depends_on_data_is_named() -> None:
    class Chosen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x[x[:, 0] > 0])

    traced = api.capture(Chosen(), {"x": torch.randn(5, 8)})
    with pytest.raises(AnalysisError, match=r"FLOPs of this model depend on its data\n.*the size u0"):
        FlopBudget.of(traced, analyse(traced))
