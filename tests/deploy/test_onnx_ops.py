from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from fxprune.deploy.onnx import export_onnx
from fxprune.deploy.onnx_ops import rewrite_reversed
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
    rewrite_reversed(exported.program)
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
