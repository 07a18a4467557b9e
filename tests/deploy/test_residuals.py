"""Residual sums around int8 products: fewer nodes, and nothing rounded that need not be."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from fxprune.deploy import quantiser
from fxprune.deploy.int8 import export_int8
from fxprune.deploy.onnx import export_onnx
from fxprune.deploy.ort import open_session
from fxprune.deploy.quantiser import answers
from fxprune.deploy.residuals import biases_beside_products, keep_residuals
from fxprune.shapes import resized

TERMS = """
<ir_version: 10, opset_import: ["" : 20]>
graph (float[n, 6] x, float[n, 6] r) => (float[n, 6] first, float[n, 6] second)
  <float[6, 6] w, float[6] b, float[6] c> {
  product = MatMul(x, w)
  first = Sum(product, r, b)
  second = Sum(r, product, c)
}
"""


def filled(text: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(text)
    for place, (name, shape) in enumerate({"w": (6, 6), "b": (6,), "c": (6,)}.items()):
        array = np.random.default_rng(place).normal(size=shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    for node in model.graph.node:
        node.name = f"node_{node.output[0]}"
    return model


def outputs(model: onnx.ModelProto, path) -> list[np.ndarray]:
    onnx.save(model, path)
    feed = {name: np.random.default_rng(9).normal(size=(3, 6)).astype(np.float32) for name in "xr"}
    return open_session(path).run(None, feed)


def test_a_bias_goes_with_its_product(tmp_path):
    model = filled(TERMS)
    want = outputs(model, tmp_path / "before.onnx")
    biases_beside_products(model.graph, {"node_product"})
    onnx.checker.check_model(model)
    assert [(node.op_type, len(node.input)) for node in model.graph.node] == [
        ("MatMul", 2),
        ("Add", 2),
        ("Sum", 2),
        ("Add", 2),
        ("Sum", 2),
    ]
    for found, wanted in zip(outputs(model, tmp_path / "after.onnx"), want, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "products"),
    [
        pytest.param(TERMS.replace("b)", "x)").replace("c)", "x)"), {"node_product"}, id="no bias"),
        pytest.param(TERMS.replace("r, b", "b").replace("r, ", ""), {"node_product"}, id="two terms"),
        pytest.param(TERMS.replace("r, b", "product, b").replace("r, ", ""), {"node_product"}, id="a product twice"),
        pytest.param(
            TERMS.replace(", r, b", ", r, product, b").replace("r, product, c", "c"), {"node_product"}, id="and r"
        ),
        pytest.param(TERMS, set(), id="no product with a weight"),
    ],
)
def test_other_sums_stay(text, products):
    model = filled(text)
    before = model.SerializeToString()
    biases_beside_products(model.graph, products)
    assert model.SerializeToString() == before


class Normed(nn.Module):
    """Two products with a residual sum between."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.norm = nn.Embedding(90, 32), nn.LayerNorm(32)
        self.inner, self.outer = nn.Linear(32, 32), nn.Linear(32, 32)

    def forward(self, input_ids):
        hidden = self.table(input_ids)
        return {"out": self.outer(self.norm(self.inner(hidden) + hidden))}


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    torch.manual_seed(0)
    examples = {"input_ids": torch.randint(0, 90, (5, 13))}
    made = export_onnx(Normed().eval(), examples, tmp_path_factory.mktemp("dense") / "model.onnx")
    return made.path, [resized(examples, size, 11, seed=size) for size in range(2, 6)]


def test_what_is_summed_is_not_rounded(dense, tmp_path, monkeypatch):
    path, texts = dense
    how = {"calibration": texts[1:], "calibrators": ["MinMax"], "tables": False}
    kept = export_int8(path, tmp_path / "kept.onnx", texts[:1], **how)
    monkeypatch.setattr(quantiser, "keep_residuals", lambda *_: None)
    rounded = export_int8(path, tmp_path / "rounded.onnx", texts[:1], **how)
    assert kept.products == rounded.products == 2
    assert kept.agreement.max_error < rounded.agreement.max_error
    assert sums_of_rounded(rounded.path) == 1
    assert sums_of_rounded(kept.path) == 0


def test_a_branch_may_read_a_rounded_value(tmp_path):
    text = """
    <ir_version: 10, opset_import: ["" : 20]>
    graph (float[n] x, bool c) => (float[n] out) <float s = {0.1}, uint8 z = {7}> {
      rounded = QuantizeLinear(x, s, z)
      back = DequantizeLinear(rounded, s, z)
      out = If (c) <then_branch = t () => (float[n] a) { a = Neg(back) },
                    else_branch = e () => (float[n] b) { b = Abs(back) }>
    }
    """
    path = tmp_path / "branch.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    keep_residuals(path, ())
    assert ops(path) == {"QuantizeLinear": 1, "DequantizeLinear": 1, "If": 1}


def test_an_output_that_is_multiplied_too_is_not_rounded(tmp_path):
    text = """
    <ir_version: 10, opset_import: ["" : 20]>
    graph (float[n, 4] x, float[4, 4] w) => (float[n, 4] hidden, float[n, 4] out) <float s = {0.1}, uint8 z = {7}> {
      before = Tanh(x)
      rounded = QuantizeLinear(before, s, z)
      hidden = DequantizeLinear(rounded, s, z)
      [product] out = MatMul(hidden, w)
    }
    """
    path = tmp_path / "output.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    x, w = torch.randn(3, 4), torch.randn(4, 4)
    before = answers(path, [{"x": x, "w": w}])[0]
    keep_residuals(path, ["product"])
    after = answers(path, [{"x": x, "w": w}])[0]
    torch.testing.assert_close(torch.as_tensor(after["hidden"]), torch.tanh(x))
    assert (torch.as_tensor(before["hidden"]) != torch.as_tensor(after["hidden"])).any()
    torch.testing.assert_close(after["out"], before["out"])


def ops(path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path, load_external_data=False).graph.node)


def sums_of_rounded(path) -> int:
    graph = onnx.load(path, load_external_data=False).graph
    back = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    return sum(not back.isdisjoint(node.input) for node in graph.node if node.op_type in ("Add", "Sub", "Sum"))
