from __future__ import annotations

import torch
from handling import outputs
from models import inputs_of, model_of

from fxprune.passes import PinDefaults, run_passes
from fxprune.tracing import capture
from fxprune.verify.compare import output_tensors, relative_error

ATTENTION = torch.ops.aten.scaled_dot_product_attention.default


def test_the_scale_of_attention_is_written_down_at_its_dense_value() -> None:
    traced = capture(model_of("conv_stem"), inputs_of("conv_stem"))
    (attention,) = (node for node in traced.graph.nodes if node.target is ATTENTION)
    assert "scale" not in attention.kwargs
    assert run_passes(traced, [PinDefaults()]) is True
    assert attention.kwargs["scale"] == 6**-0.5
    expected = output_tensors(model_of("conv_stem")(**inputs_of("conv_stem")))
    assert max(map(relative_error, outputs(traced, inputs_of("conv_stem")), expected)) < 1e-14
    assert run_passes(traced, [PinDefaults()]) is False


def test_a_scale_the_model_gives_stays() -> None:
    traced = capture(model_of("bert"), inputs_of("bert"))
    scales = [node.kwargs.get("scale") for node in traced.graph.nodes if node.target is ATTENTION]
    assert run_passes(traced, [PinDefaults()]) is (None in scales)
    assert [n.kwargs["scale"] for n in traced.graph.nodes if n.target is ATTENTION] == [8**-0.5] * 2
