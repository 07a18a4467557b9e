from __future__ import annotations

import copy

import pytest
import torch
from handling import outputs
from models import inputs_of, traced_of

from fxprune.errors import PassError
from fxprune.passes import run_passes
from fxprune.passes.expose_taps import ExposeTaps, HideTaps


def test_a_tapped_graph_returns_its_outputs_and_the_values_of_the_taps() -> None:
    traced, inputs = traced_of("fused_glu"), inputs_of("fused_glu")
    before = outputs(traced, inputs)
    assert run_passes(traced, [ExposeTaps(("silu", "linear"))]) is True
    values, taps = traced(**inputs)
    assert torch.equal(values[0], before[0])
    assert [tap.shape[-1] for tap in taps] == [16, 24]
    assert run_passes(traced, [ExposeTaps(("silu", "linear"))]) is False


def test_hiding_the_taps_gives_back_the_structure_of_the_model() -> None:
    traced, inputs = traced_of("bert"), inputs_of("bert")
    before = traced(**inputs)
    assert run_passes(traced, [HideTaps()]) is False
    run_passes(traced, [ExposeTaps(("gelu",))])
    assert isinstance(traced(**inputs), tuple)
    assert run_passes(traced, [HideTaps()]) is True
    after = traced(**inputs)
    assert type(after) is type(before)
    assert torch.equal(after.logits, before.logits)


def test_a_tap_that_does_not_exist_is_refused() -> None:
    with pytest.raises(PassError, match="there is no node 'nope' to tap"):
        run_passes(traced_of("fused_glu"), [ExposeTaps(("nope",))])


def test_a_copy_of_a_tapped_graph_hides_its_own_taps() -> None:
    traced, inputs = traced_of("bert"), inputs_of("bert")
    before = traced(**inputs)
    run_passes(traced, [ExposeTaps(("gelu",))])
    copied = copy.deepcopy(traced)
    assert run_passes(copied, [HideTaps()]) is True
    assert torch.equal(copied(**inputs).logits, before.logits)
    assert isinstance(traced(**inputs), tuple)  # the other is still tapped
    run_passes(traced, [HideTaps()])
    assert torch.equal(traced(**inputs).logits, before.logits)


def test_gradients_flow_through_taps() -> None:
    traced, inputs = traced_of("bert").requires_grad_(True), inputs_of("bert")
    run_passes(traced, [ExposeTaps(("layer_norm_2",))])
    traced(**inputs)[1][0].square().sum().backward()
    assert traced.get_parameter("bert.encoder.layer.0.output.dense.weight").grad is not None
    assert traced.get_parameter("bert.encoder.layer.1.output.dense.weight").grad is None
