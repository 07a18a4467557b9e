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
            size = [group.size for group in cut.after if group.role == "qk"][0] * (2 if name == "rotary" else 1)
            assert node.kwargs["scale"] == pytest.approx(size**-0.5)
    assert max(map(relative_error, outputs(cut.slim, inputs_of(name)), before)) < 1e-6
    assert run_passes(cut.slim, [FoldAttentionScale(cut.after.inferred)]) is False


def test_a_head_that_was_not_cut_keeps_its_weights() -> None:
    dense = traced_of("bert")
    masks = {name: mask for name, mask in halves(Cut.of(dense, {}).before).items() if not name.endswith("qk")}
    cut = Cut.of(dense, masks)
    assert run_passes(cut.slim, [FoldAttentionScale(cut.after.inferred)]) is False
