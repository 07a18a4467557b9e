from __future__ import annotations

import torch
from models import traced_of
from torch import Tensor, nn

from fxprune.attention import attention_sites
from fxprune.axes import size_of
from fxprune.groups import analyse
from fxprune.passes import CANONICAL, run_passes
from fxprune.tracing import capture


def test_attention_written_out_is_named_like_the_fused_op() -> None:
    traced = traced_of("einsum_attention")
    groups = analyse(traced)
    assert {group.role for group in groups.prunable} >= {"heads", "qk", "value"}
    (site,) = attention_sites(traced, groups.inferred)
    assert 4 in [size_of(axis) for axis in site.heads], "the heads, and the rows of the batch"
    assert [size_of(axis) for axis in (*site.qk, *site.value)] == [6, 6]


def test_fused_attention_is_one_site_a_layer() -> None:
    traced = traced_of("bert")
    assert len(attention_sites(traced, analyse(traced).inferred)) == 2


class Routed(nn.Module):
    """Chooses between two layers by a softmax over what a layer says."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.gate, self.leave = nn.Linear(10, 8), nn.Linear(8, 2), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        weights = self.gate(x).softmax(-1)
        return self.leave((torch.stack((x, x.tanh()), -1) @ weights[..., None])[..., 0])


def test_a_softmax_over_what_a_layer_says_is_no_attention() -> None:
    traced = capture(Routed(), {"x": torch.randn(5, 10)})
    run_passes(traced, CANONICAL)
    assert attention_sites(traced, analyse(traced).inferred) == []
