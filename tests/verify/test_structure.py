from __future__ import annotations

import torch
from cutting import Cut
from models import inputs_of, traced_of
from torch import nn

from fxprune.groups import analyse
from fxprune.traced import replace_tensor
from fxprune.verify.structure import structure_faults


def test_a_dense_model_is_sound() -> None:
    traced = traced_of("fused_qkv")
    assert structure_faults(traced, analyse(traced), inputs_of("fused_qkv", 2, 4)) == []


def test_a_graph_that_does_not_run_is_a_fault_that_says_why() -> None:
    traced = traced_of("bert")
    groups = analyse(traced)
    replace_tensor(traced, "cls.predictions.transform.dense.weight", nn.Parameter(torch.zeros(30, 32).double()))
    faults = structure_faults(traced, groups, inputs_of("bert"))
    assert "get_attr" not in faults[0]
    assert "has shape [30, 32], the axis types predict [32, 32]" in faults[0]
    assert faults[-1].startswith("the graph does not run: RuntimeError")


def test_the_heads_in_a_folded_axis_are_checked_against_the_batch_of_the_run() -> None:
    cut = Cut.of(traced_of("folded_heads"))
    inputs = inputs_of("folded_heads", 3)
    assert cut.faults(inputs) == []
    (heads,) = (group for group in cut.after if group.name == "heads")
    heads.factor.size = 4
    assert any("the axis types predict [4*s" in fault for fault in cut.faults(inputs))


def test_an_untied_alias_is_a_fault() -> None:
    traced = traced_of("tied_three_ways")
    groups = analyse(traced)
    traced.get_submodule("head").weight = nn.Parameter(traced.get_parameter("tokens.weight").detach().clone())
    (fault,) = structure_faults(traced, groups, inputs_of("tied_three_ways"))
    assert "head.weight is no longer tied to" in fault
