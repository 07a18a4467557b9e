from __future__ import annotations

import pytest
import torch
from cutting import Cut, halves
from handling import outputs
from models import inputs_of, traced_of

from fxprune.passes import FoldAttentionScale, run_passes
from fxprune.verify.compare import relative_error

ATTENTION = torch.ops.aten.scaled_dot_product_attention.default


@pytest.mark.parametrize("name", ["bert", "gpt2", "vit", "conv_stem", "rotary"])
def test_slim_weights_absorb_the_scale_of_the_dense_head(name: str) -> None:
    cut = Cut.of(traced_of(name), ragged=True)
    before = outputs(cut.slim, inputs_of(name))
    assert run_passes(cut.slim, [FoldAttentionScale(cut.after.inferred)]) is True
    for node in cut.slim.graph.nodes:
        if node.target is ATTENTION:
            size = next(group.size for group in cut.after if group.role == "qk") * (2 if name == "rotary" else 1)
            assert node.kwargs["scale"] == pytest.approx(size**-0.5)
    assert max(map(relative_error, outputs(cut.slim, inputs_of(name)), before)) < 1e-12
    assert run_passes(cut.slim, [FoldAttentionScale(cut.after.inferred)]) is False


def test_a_head_that_was_not_cut_keeps_its_weights() -> None:
    dense = traced_of("bert")
    masks = {name: mask for name, mask in halves(Cut.of(dense, {}).before).items() if not name.endswith("qk")}
    cut = Cut.of(dense, masks)
    assert run_passes(cut.slim, [FoldAttentionScale(cut.after.inferred)]) is False


def test_dims_shared_by_the_layers_are_scaled_once() -> None:
    """A rotary table couples the query dims of all layers: each weight holds them once, and is scaled once."""
    cut = Cut.of(traced_of("llama"))
    (factor,) = {group.factor for group in cut.after.prunable if group.role == "qk"}
    before = cut.slim.get_parameter("model.layers.0.self_attn.k_proj.weight").detach().clone()
    tables = {name: buffer.clone() for name, buffer in cut.slim.named_buffers()}
    expected = outputs(cut.slim, inputs_of("llama"))
    run_passes(cut.slim, [FoldAttentionScale(cut.after.inferred)])
    ratio = (8**-0.5 / (2 * factor.size) ** -0.5) ** 0.5  # type: ignore[operator]
    torch.testing.assert_close(cut.slim.get_parameter("model.layers.0.self_attn.k_proj.weight"), before * ratio)
    assert all(torch.equal(buffer, tables[name]) for name, buffer in cut.slim.named_buffers())
    assert max(map(relative_error, outputs(cut.slim, inputs_of("llama")), expected)) < 1e-6
