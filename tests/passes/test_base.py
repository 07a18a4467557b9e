from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from models import traced_of
from torch.fx import GraphModule

from fxprune.errors import PassError
from fxprune.passes import CANONICAL, DeadCode, Pass, PassResult, run_passes
from fxprune.passes.base import subgraph_nodes


@dataclass(frozen=True, repr=False)
class Spoils(Pass):
    """Does something wrong."""

    what: str

    def requires(self, gm: GraphModule) -> None:
        if self.what == "requires":
            raise PassError("this graph is not ready", remedy="make it so")

    def call(self, gm: GraphModule) -> PassResult:
        if self.what == "call":
            raise ValueError("a bug of ours")
        if self.what == "graph":
            linear = next(node for node in gm.graph.nodes if "linear" in node.name)
            gm.graph.nodes.__iter__().__next__().prepend(linear)  # uses come before definitions
        return PassResult(gm, modified=True)

    def ensures(self, gm: GraphModule) -> None:
        assert self.what != "ensures", "something was left"


def test_what_a_pass_demands_is_said_in_its_own_words() -> None:
    with pytest.raises(PassError, match=r"^this graph is not ready\n  remedy  make it so$"):
        run_passes(traced_of("fused_glu"), [Spoils("requires")])


@pytest.mark.parametrize(
    ("what", "cause"),
    [
        ("call", "ValueError: a bug of ours"),
        ("ensures", "AssertionError: something was left"),
        ("graph", "RuntimeError"),
    ],
)
def test_a_pass_that_fails_is_named_with_those_that_ran_before(what: str, cause: str) -> None:
    with pytest.raises(PassError, match=f"pass Spoils failed\n  cause   {cause}") as failure:
        run_passes(traced_of("fused_glu"), [*CANONICAL, Spoils(what)])
    assert "passes before: PlainViews, PinDefaults, ExplicitSizes, ScalarConstants, DeadCode" in str(failure.value)
    assert failure.value.__cause__ is not None


def test_no_pass_means_no_change() -> None:
    assert run_passes(traced_of("fused_glu"), []) is False
    assert run_passes(traced_of("fused_glu"), [DeadCode()]) is False


def test_canonical_passes_have_nothing_to_do_twice() -> None:
    for name in ("bert", "llama", "t5", "fused_qkv", "partial_rotary"):
        assert run_passes(traced_of(name), CANONICAL) is False


def test_an_edited_graph_is_recompiled() -> None:
    @dataclass(frozen=True, repr=False)
    class Doubles(Pass):
        def call(self, gm: GraphModule) -> PassResult:
            (output,) = (node for node in gm.graph.nodes if node.op == "output")
            (value,) = output.all_input_nodes
            with gm.graph.inserting_before(output):
                output.replace_input_with(value, gm.graph.call_function(torch.ops.aten.mul.Tensor, (value, 2.0)))
            return PassResult(gm, modified=True)

    traced = traced_of("fused_glu")
    x = {"x": torch.ones(5, 7, 10, dtype=torch.float64)}
    before = traced(**x)
    run_passes(traced, [Doubles()])
    assert torch.equal(traced(**x), 2 * before)


def test_nested_graphs_are_found() -> None:
    traced = traced_of("fused_glu")
    assert subgraph_nodes(traced) == []
    traced.add_module("inner", torch.nn.Identity())
    with traced.graph.inserting_after(next(iter(traced.graph.nodes))):
        call = traced.graph.call_module("inner", (next(iter(traced.graph.nodes)),))
    assert subgraph_nodes(traced) == [call]
