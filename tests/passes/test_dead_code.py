from __future__ import annotations

from dataclasses import replace

import torch
from handling import outputs, run_exact
from models import inputs_of, traced_of

from fxprune.passes import DeadCode, run_passes


def test_what_nobody_uses_goes_with_the_parameters_it_read() -> None:
    traced = traced_of("fused_glu")
    graph = traced.graph
    last = next(node for node in graph.nodes if node.op == "output")
    with graph.inserting_before(last):
        weight = graph.get_attr("both.weight")
        graph.call_function(torch.ops.aten.mul.Tensor, (weight, 2.0))
    count = len(graph.nodes)
    traced.recompile()
    run_exact(traced, DeadCode(), inputs_of("fused_glu"))
    assert len(traced.graph.nodes) == count - 2


def test_writes_into_a_view_stay_though_nobody_uses_their_result() -> None:
    traced = traced_of("writes_in_place")
    unused = [n for n in traced.graph.nodes if n.op == "call_function" and not n.users]
    assert unused, "the model writes into views of its features"
    before = outputs(traced, inputs_of("writes_in_place"))
    assert run_passes(traced, [DeadCode()]) is False
    assert torch.equal(outputs(traced, inputs_of("writes_in_place"))[0], before[0])


def test_parameters_nobody_reads_go_tied_ones_with_all_their_names() -> None:
    traced = traced_of("tied_three_ways")
    assert run_passes(traced, [DeadCode()]) is False, "a tied parameter is read under one of its names"
    traced.register_parameter("pooler", torch.nn.Parameter(torch.ones(3)))
    run_exact(traced, DeadCode(), inputs_of("tied_three_ways"))
    assert "pooler" not in dict(traced.named_parameters())
    assert "other.head.weight" in dict(traced.named_parameters(remove_duplicate=False))


def test_a_buffer_that_went_is_not_said_to_be_computed_by_the_class() -> None:
    traced = traced_of("bert")
    known = traced.meta["provenance"]
    traced.register_buffer("positions", torch.arange(4), persistent=False)
    traced.meta["provenance"] = replace(known, recomputed=known.recomputed | {"positions"})
    run_passes(traced, [DeadCode()])
    assert "positions" not in traced.provenance.recomputed
    assert all(name in dict(traced.named_buffers()) for name in traced.provenance.recomputed)
