from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from fxprune.deploy.onnx import export_onnx
from fxprune.deploy.onnx_graph import tidy
from fxprune.deploy.onnx_ops import rewrite_ops
from fxprune.deploy.program import export_program


class Reversed(nn.Module):
    """Subtracts a mask of integers from one, as decoders do."""

    def __init__(self) -> None:
        super().__init__()
        self.leave = nn.Linear(4, 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.leave(x) + (1.0 - mask)[..., None]


INPUTS = {"x": torch.randn(5, 13, 4), "mask": torch.ones(5, 13, dtype=torch.int64)}


def test_a_number_minus_a_tensor_is_written_without_the_op_the_exporter_breaks() -> None:
    exported = export_program(Reversed().eval(), INPUTS)
    before = exported.program.module()(**INPUTS)
    rewrite_ops(exported.program)
    targets = {node.target for node in exported.program.graph.nodes}
    assert torch.ops.aten.rsub.Scalar not in targets
    assert torch.equal(exported.program.module()(**INPUTS), before)


def test_a_number_minus_a_tensor_goes_to_onnx(tmp_path: Path) -> None:
    assert export_onnx(Reversed().eval(), INPUTS, tmp_path / "model.onnx").max_error < 1e-5


def test_experts_of_a_library_op_go_to_onnx(tmp_path: Path) -> None:
    from transformers.integrations import moe

    assert moe is not None  # registers its op

    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.Parameter(torch.randn(3, 4, 6))

        def forward(self, x: Tensor) -> Tensor:
            third = x.shape[0] // 3
            ends = torch.arange(1, 4) * third + torch.tensor([0, 0, 1]) * (x.shape[0] - 3 * third)
            return torch.ops.transformers.grouped_mm_fallback(x, self.weights, ends.to(torch.int32))

    assert export_onnx(Experts().eval(), {"x": torch.randn(7, 4)}, tmp_path / "model.onnx").max_error < 1e-5


class OneKey(nn.Module):
    """Many heads of queries attend to one head of keys and values, which PyTorch broadcasts."""

    def __init__(self, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.queries, self.keys = heads, nn.Linear(8, 8 * heads), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        query = self.queries(x).view(*x.shape[:2], self.heads, 8).transpose(1, 2)
        key = self.keys(x)[:, None]
        return nn.functional.scaled_dot_product_attention(query, key, key)


@pytest.mark.parametrize("heads", [4, 1])
def test_attention_to_keys_of_one_head_is_one_op(tmp_path: Path, heads: int) -> None:
    export = export_onnx(OneKey(heads).eval(), {"x": torch.randn(5, 13, 8)}, tmp_path / "model.onnx")
    assert (export.rung, export.fused["Attention"]) == ("lean", 1)
    assert export.max_error < 1e-5


def test_sizes_that_are_not_known_are_not_the_same() -> None:
    program = export_program(Reversed().eval(), INPUTS)
    value = ir.Value(name="x", shape=ir.Shape([None, "s0", 4, None]))
    model = ir.Model(ir.Graph([value], [value], nodes=[], opset_imports={"": 23}), ir_version=10)
    tidy(model, program.dims, {})
    assert [size if isinstance(size, int) else size.value for size in value.shape] == [None, "length", 4, None]


class Rotated(nn.Module):
    """Turns pairs of entries by complex products, as DeepSeek V2 and Llama 4 do."""

    def __init__(self, *, conjugated: bool = False) -> None:
        super().__init__()
        self.leave, self.conjugated = nn.Linear(6, 6), conjugated

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        angles = places[..., None].float() * torch.tensor([1.0, 0.5, 0.25])
        turns = (torch.polar(torch.ones_like(angles), angles) * 1.5).unsqueeze(1)
        pairs = torch.view_as_complex(self.leave(x).reshape(*x.shape[:-1], -1, 2))
        turned = pairs * turns.to(pairs.dtype).conj() if self.conjugated else pairs * turns * angles[:, None]
        return torch.view_as_real(turned.transpose(1, 2)).flatten(3)


ROTATED = {"x": torch.randn(5, 3, 13, 6), "places": torch.randint(9, (5, 13))}


def test_complex_products_are_written_in_real_numbers(tmp_path: Path) -> None:
    exported = export_program(Rotated().eval(), ROTATED)
    before = exported.program.module()(**ROTATED)
    rewrite_ops(exported.program)
    values = [node.meta["val"] for node in exported.program.graph.nodes if isinstance(node.meta.get("val"), Tensor)]
    assert not any(value.is_complex() for value in values)
    torch.testing.assert_close(exported.program.module()(**ROTATED), before)
    assert export_onnx(Rotated().eval(), ROTATED, tmp_path / "model.onnx").max_error < 1e-5


def test_complex_numbers_that_are_used_in_another_way_stay() -> None:
    exported = export_program(Rotated(conjugated=True).eval(), ROTATED)
    before = exported.program.module()(**ROTATED)
    rewrite_ops(exported.program)
    torch.testing.assert_close(exported.program.module()(**ROTATED), before)
