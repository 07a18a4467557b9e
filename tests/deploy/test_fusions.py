"""Fused operators are counted in what ONNX Runtime runs, and missed where they are gone."""

from __future__ import annotations

import onnx
import pytest
import torch

from fxprune.deploy.fusions import count_ops, lost_fusions

GELU = """
<ir_version: 10, opset_import: ["" : 20]>
graph (float[n, 2, 4] x, float[4, 4] w, float[4] bias) => (float[n, 2, 4] out) {
  product = MatMul(x, w)
  sum = Add(product, bias)
  out = Gelu(sum)
}
"""


@pytest.fixture
def kwargs():
    return {"x": torch.ones(3, 2, 4), "w": torch.ones(4, 4), "bias": torch.ones(4)}


def test_operators_are_counted_as_they_run(tmp_path, kwargs):
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx.parser.parse_model(GELU).SerializeToString())
    ops = count_ops(path, kwargs)
    assert (ops.nodes, ops.fused) == (2, {"BiasGelu": 1})
    path.write_bytes(onnx.parser.parse_model(GELU.replace("Gelu(", "Tanh(")).SerializeToString())
    ops = count_ops(path, kwargs)
    assert (ops.nodes, ops.fused) == (3, {})
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_a_lost_fusion_is_a_sentence():
    assert lost_fusions({"Attention": 2}, {"Attention": 3, "BiasGelu": 1}) == []
    assert lost_fusions({"BiasGelu": 2, "Attention": 1}, {"BiasGelu": 2}) == [
        "ONNX Runtime runs 0 Attention ops for the student and 1 for the teacher"
    ]
