from __future__ import annotations

from pathlib import Path

import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from fxprune.deploy.onnx import export_onnx


class Solves(nn.Module):
    def __init__(self, *, upper: bool, left: bool, unitriangular: bool) -> None:
        super().__init__()
        self.how = {"upper": upper, "left": left, "unitriangular": unitriangular}

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(a, b, **self.how)


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("unitriangular", [False, True])
@pytest.mark.parametrize("size", [1, 7, 16])
def test_a_triangular_system_goes_to_onnx(
    size: int, unitriangular: bool, left: bool, upper: bool, tmp_path: Path
) -> None:
    a = torch.randn(5, 3, size, size) * 0.3 + 2 * torch.eye(size)  # neither triangle is empty, the diagonal not one
    b = torch.randn(5, 3, *((size, 9) if left else (9, size)))
    model = Solves(upper=upper, left=left, unitriangular=unitriangular)
    assert export_onnx(model, {"a": a, "b": b}, tmp_path / "model.onnx").max_error < 1e-5


def test_rows_that_are_all_alike_lose_no_precision(tmp_path: Path) -> None:
    """Sixty-four times the same token: powers of such a matrix would reach 1e18."""
    model = Solves(upper=False, left=True, unitriangular=True)
    a, b = torch.full((5, 64, 64), 0.99).tril(-1) + torch.eye(64), torch.randn(5, 64, 9)
    file = export_onnx(model, {"a": a, "b": b}, tmp_path / "model.onnx").path
    (found,) = ort.InferenceSession(file).run(None, {"a": a.numpy(), "b": b.numpy()})
    exact = model(a.double(), b.double())
    assert (torch.from_numpy(found) - exact).abs().max() < 1e-5 * exact.abs().max()
