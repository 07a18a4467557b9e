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
