from __future__ import annotations

import copy

import pytest
import torch
from models import inputs_of, traced_of

from fxprune.errors import PassError
from fxprune.passes import AllPositions, ExposeTaps, HideTaps, PickPositions, run_passes
from fxprune.passes.pick_positions import POSITIONS, head_of, picks_positions

PLACES = torch.tensor([1, 7, 4])


@pytest.mark.parametrize("name", ["bert", "distilbert", "electra", "modernbert", "gpt2", "llama"])
def test_the_head_is_computed_at_the_picked_positions_only(name: str) -> None:
    traced, inputs = traced_of(name), inputs_of(name)
    run_passes(traced, [ExposeTaps(())])
    (before, *_), _ = traced(**inputs)
    assert run_passes(traced, [PickPositions(0)]) is True
    (after, *_), _ = traced(**inputs, **{POSITIONS: PLACES})
    torch.testing.assert_close(after, before.flatten(0, 1)[PLACES])
    assert run_passes(traced, [PickPositions(0)]) is False


def test_all_positions_gives_back_the_graph_of_before() -> None:
    traced, inputs = traced_of("bert"), inputs_of("bert")
    before, nodes = traced(**inputs), [node.name for node in traced.graph.nodes]
    run_passes(traced, [ExposeTaps(()), PickPositions(0)])
    copied = copy.deepcopy(traced)
    for graph in (traced, copied):
        assert run_passes(graph, [AllPositions(), HideTaps()]) is True
        assert not picks_positions(graph)
        assert run_passes(graph, [AllPositions()]) is False
        assert torch.equal(graph(**inputs).logits, before.logits)
        assert [node.name for node in graph.graph.nodes] == nodes


def test_a_whole_head_is_found_and_nothing_beyond_it() -> None:
    traced = traced_of("bert")
    logits = next(node for node in traced.graph.nodes if node.op == "output").all_input_nodes[0]
    ops = [node.target for node, _ in head_of(logits)]
    aten = torch.ops.aten
    # the residual sum below the last norm of the encoder has two sources, and a dropout between
    assert ops[:4] == [aten.linear.default, aten.layer_norm.default, aten.gelu.default, aten.linear.default]
    assert all(op not in (aten.add.Tensor, aten.scaled_dot_product_attention.default) for op in ops)


def test_a_tapped_value_stays_whole() -> None:
    traced, inputs = traced_of("bert"), inputs_of("bert")
    logits = next(node for node in traced.graph.nodes if node.op == "output").all_input_nodes[0]
    _, source = head_of(logits)[0]  # the norm right before the vocabulary
    run_passes(traced, [ExposeTaps((source.name,)), PickPositions(0)])
    (picked, *_), (tap,) = traced(**inputs, **{POSITIONS: PLACES})
    assert tap.shape[:2] == inputs["input_ids"].shape
    assert len(picked) == len(PLACES)


def test_an_output_that_has_no_length_is_left_alone() -> None:
    traced = traced_of("vit")
    run_passes(traced, [ExposeTaps(())])
    assert run_passes(traced, [PickPositions(0)]) is False


def test_gradients_are_those_of_the_whole_head() -> None:
    grads = []
    for pick in (False, True):
        traced, inputs = traced_of("bert").requires_grad_(True), inputs_of("bert")
        run_passes(traced, [ExposeTaps(()), *([PickPositions(0)] if pick else [])])
        (logits, *_), _ = traced(**inputs, **({POSITIONS: PLACES} if pick else {}))
        (logits if pick else logits.flatten(0, 1)[PLACES]).square().sum().backward()
        grads.append({name: parameter.grad for name, parameter in traced.named_parameters()})
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad)


def test_taps_come_first() -> None:
    with pytest.raises(PassError, match="run ExposeTaps before"):
        run_passes(traced_of("bert"), [PickPositions(0)])
