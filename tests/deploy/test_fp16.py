"""float16 files: half the bytes, float inputs and outputs, norms and softmax in float32."""

from __future__ import annotations

import onnx
import pytest
import torch
from onnx import TensorProto
from torch import nn

from fxprune.deploy.fp16 import TOLERANCE, across, export_fp16
from fxprune.deploy.onnx import export_onnx
from fxprune.errors import DeployError, UsageError


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm = nn.Linear(48, 48), nn.LayerNorm(48)

    def forward(self, x):
        return {"y": torch.softmax(self.norm(self.inner(x)), -1)}


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    torch.manual_seed(0)
    examples = {"x": torch.randn(5, 48)}
    return export_onnx(Normed().eval(), examples, tmp_path_factory.mktemp("dense") / "model.onnx").path, [examples]


def test_weights_are_halves_and_the_outside_is_float(dense, tmp_path):
    path, examples = dense
    done = export_fp16(path, tmp_path / "half.onnx", examples)
    assert 0 < done.agreement.max_error <= TOLERANCE
    assert done.bytes < 0.8 * done.bytes_before
    graph = onnx.load(done.path).graph
    assert {v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)} == {TensorProto.FLOAT}
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert TensorProto.FLOAT16 in types.values()
    casts = {node.output[0]: node.attribute[0].i for node in graph.node if node.op_type == "Cast"}
    for node in graph.node:
        if node.op_type in ("LayerNormalization", "Softmax"):
            assert {casts.get(name) or types[name] for name in node.input} == {TensorProto.FLOAT}
        if node.op_type in ("MatMul", "Gemm"):
            assert types[node.input[1]] == TensorProto.FLOAT16


def test_one_that_is_too_far_away_is_not_written(dense, tmp_path):
    path, examples = dense
    with pytest.raises(DeployError, match="away from the float32 one, 1e-09 is allowed"):
        export_fp16(path, tmp_path / "half.onnx", examples, tolerance=1e-9)
    assert not list(tmp_path.iterdir())


def test_the_provider_must_be_there(dense, tmp_path):
    path, examples = dense
    with pytest.raises(UsageError, match="no provider 'abacus'"):
        export_fp16(path, tmp_path / "half.onnx", examples, provider="abacus")
    assert across(path, examples, "cpu").max_error == 0.0
