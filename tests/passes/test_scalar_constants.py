"""Numbers that are kept as tensors become literals, unless they are saved or not known."""

from __future__ import annotations

import pytest
import torch
from handling import outputs, targets
from torch import nn
from zoo import ZOO, model_of

from fxprune.passes import DeadCode, ScalarConstants, run_passes
from fxprune.rescaling.equations import number_at, scales
from fxprune.tracing import capture

EXAMPLE = {"x": torch.randn(5, 8)}


class Numbers(nn.Module):
    """A buffer that is computed, one that is saved, and a number that is made on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("computed", torch.tensor(8.0).sqrt(), persistent=False)
        self.register_buffer("saved", torch.tensor(3.0))
        self.register_buffer("vector", torch.rand(8), persistent=False)

    def forward(self, x):
        scale = torch.sqrt(torch.tensor(x.size(-1), dtype=torch.float) * 3)
        return self.computed * x / scale + self.saved * x + self.vector


def test_numbers_that_follow_from_sizes_become_literals():
    traced = capture(Numbers(), EXAMPLE)
    before = outputs(traced, EXAMPLE)
    assert run_passes(traced, [ScalarConstants(), DeadCode()])
    found = [number_at(node) for node in traced.graph.nodes if scales(node)]
    assert found == pytest.approx([8**0.5, 24**0.5])
    assert torch.equal(outputs(traced, EXAMPLE)[0], before[0])
    assert {str(node.target) for node in traced.graph.nodes if node.op == "get_attr"} == {"saved", "vector"}
    assert "sqrt" not in targets(traced)
    assert not run_passes(traced, [ScalarConstants()])


def test_a_number_that_is_cast_where_it_is_used_becomes_a_literal():
    """Gemma 3n scales by ``buffer.to(dtype=x.dtype, device=x.device)``."""

    class Cast(Numbers):
        def forward(self, x):
            return x * 2 * self.computed.to(dtype=x.dtype, device=x.device)

    traced = capture(Cast(), EXAMPLE)
    before = outputs(traced, EXAMPLE)
    run_passes(traced, [ScalarConstants(), DeadCode()])
    assert [number_at(node) for node in traced.graph.nodes if scales(node)] == pytest.approx([2.0, 8**0.5])
    assert torch.equal(outputs(traced, EXAMPLE)[0], before[0])


def test_numbers_of_a_model_without_weights_stay():
    with torch.device("meta"):
        model = Numbers()
    traced = capture(model, {"x": torch.randn(5, 8, device="meta")})
    run_passes(traced, [ScalarConstants()])
    assert "computed" in {str(node.target) for node in traced.graph.nodes if node.op == "get_attr"}


def test_other_types_are_not_mixed():
    """A product of a half-precision value and a float32 number of no dimension is one in half precision."""
    traced = capture(Numbers(), {"x": torch.randn(5, 8, dtype=torch.bfloat16)})
    half = {"x": EXAMPLE["x"].bfloat16()}
    before = outputs(traced, half)
    run_passes(traced, [ScalarConstants(), DeadCode()])
    assert torch.equal(outputs(traced, half)[0], before[0])


@pytest.mark.parametrize("name", ["deberta-v2", "gemma"])
def test_of_real_models_no_computed_number_is_left(name):
    traced = capture(model_of(ZOO[name]), ZOO[name].inputs(3, 7))
    run_passes(traced, [ScalarConstants(), DeadCode()])
    left = {node for node in traced.graph.nodes if node.op == "get_attr" and not node.meta["val"].ndim}
    assert all(not node.meta["val"].is_floating_point() or scales_nothing(node) for node in left)


def scales_nothing(node):
    return not any(user.target in {torch.ops.aten.mul.Tensor, torch.ops.aten.div.Tensor} for user in node.users)
