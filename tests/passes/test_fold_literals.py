"""A factor may change if the weights before it take up the difference, and only then."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from fxprune.errors import PassError
from fxprune.passes import CANONICAL, FoldLiterals, run_passes
from fxprune.passes.fold_literals import is_scaling
from fxprune.tracing import capture

WIDTH = 8
EXAMPLE = {"x": torch.randn(5, WIDTH)}


class Scaled(nn.Module):
    """``head(drop(norm_weight * linear(x)) * factor) / divisor``."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)
        self.weight = nn.Parameter(torch.rand(WIDTH))
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        return self.head(self.drop(self.weight * self.inner(x)).view(-1, WIDTH) * 0.5) / 4.0


class Shared(Scaled):
    """The scaled value is used beside the product too."""

    def forward(self, x):
        value = self.weight * self.inner(x)
        return self.head(value * 0.5) + value.sum()


def captured(model):
    traced = capture(model.eval(), EXAMPLE)
    run_passes(traced, CANONICAL)
    return traced


def scalings(traced):
    return [node for node in traced.graph.nodes if is_scaling(node)]


def test_outputs_stay_while_the_factors_change():
    traced = captured(Scaled())
    want = traced(**EXAMPLE)
    product, quotient = scalings(traced)
    step = FoldLiterals({product: 0.125, quotient: 2.0})
    assert step(traced).modified
    assert (product.args[1], quotient.args[1]) == (0.125, 2.0)
    traced.recompile()
    torch.testing.assert_close(traced(**EXAMPLE), want)


def test_the_nearest_weights_take_up_the_difference():
    traced = captured(Scaled())
    before = copy.deepcopy(traced.state_dict())
    product, quotient = scalings(traced)
    run_passes(traced, [FoldLiterals({product: 0.125})])
    torch.testing.assert_close(traced.state_dict()["weight"], before["weight"] * 4)
    run_passes(traced, [FoldLiterals({quotient: 2.0})])
    for name in ("head.weight", "head.bias"):
        torch.testing.assert_close(traced.state_dict()[name], before[name] / 2)
    assert torch.equal(traced.state_dict()["inner.weight"], before["inner.weight"])


def test_a_second_run_changes_nothing():
    traced = captured(Scaled())
    product, _ = scalings(traced)
    step = FoldLiterals({product: 0.125})
    run_passes(traced, [step])
    after = copy.deepcopy(traced.state_dict())
    assert not run_passes(traced, [step])
    assert all(torch.equal(after[name], tensor) for name, tensor in traced.state_dict().items())


def test_a_value_that_is_used_elsewhere_is_left_alone():
    traced = captured(Shared())
    before = copy.deepcopy(traced.state_dict())
    (product,) = scalings(traced)
    with pytest.raises(PassError, match=r"no weight can absorb the change of 0\.5 to 0\.25") as refusal:
        run_passes(traced, [FoldLiterals({product: 0.25})])
    assert refusal.value.node is product
    assert all(torch.equal(before[name], tensor) for name, tensor in traced.state_dict().items())
    assert product.args[1] == 0.5


class Scores(nn.Module):
    """``softmax(conv(x) @ inner(x).T / divisor)``: either side of the product can take up the difference."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.conv = nn.Linear(WIDTH, WIDTH), nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x):
        return (self.conv(x[:, None])[:, 0] @ self.inner(x).transpose(0, 1) / 4.0).softmax(-1)


def test_a_product_of_two_values_is_scaled_by_one_of_them():
    traced = captured(Scores())
    want = traced(**EXAMPLE)
    (quotient,) = scalings(traced)
    FoldLiterals({quotient: 2.0})(traced)
    traced.recompile()
    torch.testing.assert_close(traced(**EXAMPLE), want)
