from __future__ import annotations

from typing import Any

import torch
from handling import outputs
from torch import Tensor, nn

from fxprune.groups import analyse
from fxprune.passes import CANONICAL, PlainViews, run_passes
from fxprune.tracing import capture

INPUTS = {"x": torch.randn(5, 7, 10)}


class Interleaved(nn.Module):
    """Pairs of neighbours turn by an angle that is stored as two halves, laid out like the features."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(10, 8), nn.Linear(8, 3)
        self.angles = nn.Parameter(torch.randn(7, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        sine, cosine = self.angles.chunk(2, -1)
        sine, cosine = (torch.stack((part, part), -1).reshape_as(self.angles) for part in (sine, cosine))
        turned = torch.stack((-x[..., 1::2], x[..., ::2]), -1).view_as(x)
        return self.leave(x * cosine + turned * sine)


def _captured() -> Any:
    return capture(Interleaved(), INPUTS)


def test_views_like_another_tensor_get_its_sizes() -> None:
    traced = _captured()
    before = outputs(traced, INPUTS)[0]
    assert run_passes(traced, [PlainViews()])
    targets = {node.target for node in traced.graph.nodes}
    assert not targets & {torch.ops.aten.reshape_as.default, torch.ops.aten.view_as.default}
    assert torch.equal(outputs(traced, INPUTS)[0], before)
    assert not run_passes(traced, [PlainViews()])


def test_free_sizes_are_read_off_the_other_tensor() -> None:
    traced, other = _captured(), {"x": torch.randn(2, 7, 10)}
    before = outputs(traced, other)[0]
    run_passes(traced, [PlainViews()])
    assert torch.equal(outputs(traced, other)[0], before)


def test_tensors_of_one_shape_need_not_share_units() -> None:
    traced = _captured()
    run_passes(traced, CANONICAL)
    assert [group.size for group in analyse(traced).prunable] == [4], "four angles, each of a pair of features"
