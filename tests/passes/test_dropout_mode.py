from __future__ import annotations

import pytest
import torch
from handling import outputs
from models import inputs_of, traced_of

from fxprune.errors import PassError
from fxprune.passes import DropoutMode, run_passes
from fxprune.passes.dropout_mode import dropouts


def test_training_drops_and_evaluation_does_not() -> None:
    traced, inputs = traced_of("bert"), inputs_of("bert")
    before = outputs(traced, inputs)[0]
    assert run_passes(traced, [DropoutMode(train=True)]) is True
    assert len(dropouts(traced)) > 2
    assert not torch.equal(outputs(traced, inputs)[0], outputs(traced, inputs)[0])
    assert run_passes(traced, [DropoutMode(train=True)]) is False
    assert run_passes(traced, [DropoutMode(train=False)]) is True
    assert torch.equal(outputs(traced, inputs)[0], before)


def test_a_captured_graph_is_in_evaluation_mode() -> None:
    assert run_passes(traced_of("bert"), [DropoutMode(train=False)]) is False


def test_arguments_may_be_given_by_name() -> None:
    traced = traced_of("bert")
    node = dropouts(traced)[0]
    node.args, node.kwargs = node.args[:1], {"p": node.args[1], "train": True}
    run_passes(traced, [DropoutMode(train=False)])
    assert node.args[1:] == (0.1, False)


def test_a_dropout_in_a_nested_graph_cannot_be_reached() -> None:
    traced = traced_of("fused_glu")
    traced.add_module("inner", torch.nn.Dropout())
    first = next(iter(traced.graph.nodes))
    with traced.graph.inserting_after(first):
        traced.graph.call_module("inner", (first,))
    with pytest.raises(PassError, match=r"a dropout may hide in a subgraph(.|\n)*remedy  capture under"):
        run_passes(traced, [DropoutMode(train=True)])


def test_without_dropout_there_is_nothing_to_do() -> None:
    assert run_passes(traced_of("fused_glu"), [DropoutMode(train=True)]) is False
