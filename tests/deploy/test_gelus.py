"""GELU in int8 files: by tanh, near the exact one, and only where it was exact."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from fxprune.deploy.gelus import by_tanh
from fxprune.deploy.int8 import export_int8
from fxprune.deploy.onnx import export_onnx
from fxprune.deploy.ort import open_session

GELUS = """
<ir_version: 10, opset_import: ["" : 20, "other" : 1]>
graph (float[n] x) => (float[n] plain, float[n] said, float[n] near, float[n] foreign) {
  plain = Gelu(x)
  said = Gelu<approximate = "none">(x)
  near = Gelu<approximate = "tanh">(x)
  foreign = other.Gelu(x)
}
"""


def test_exact_gelus_of_the_standard_domain_are_rewritten():
    graph = onnx.parser.parse_model(GELUS).graph
    assert by_tanh(graph) == 2
    assert by_tanh(graph) == 0
    said = [[(one.name, one.s) for one in node.attribute] for node in graph.node]
    assert said == [*[[("approximate", b"tanh")]] * 3, []]


def test_the_tanh_form_is_off_by_at_most_half_a_thousandth(tmp_path):
    model = onnx.parser.parse_model(GELUS)
    del model.graph.node[3], model.graph.output[3]
    onnx.save(model, tmp_path / "exact.onnx")
    by_tanh(model.graph)
    onnx.save(model, tmp_path / "near.onnx")
    feed = {"x": np.linspace(-30, 30, 60001, dtype=np.float32)}
    exact, near = (open_session(tmp_path / name).run(["plain"], feed)[0] for name in ("exact.onnx", "near.onnx"))
    assert 1e-4 < np.abs(exact - near).max() < 5e-4


@pytest.mark.captures
@pytest.mark.parametrize(("activation", "gelus"), [(nn.GELU(), 2), (nn.GELU("tanh"), 0), (nn.ReLU(), 0)])
def test_an_int8_file_says_how_many_it_has(tmp_path, activation, gelus):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), activation, nn.Linear(32, 32), activation, nn.Linear(32, 16)).eval()
    examples = {"input": torch.randn(6, 16)}
    dense = export_onnx(model, examples, tmp_path / "dense.onnx").path
    done = export_int8(dense, tmp_path / "int8.onnx", [examples])
    assert done.gelus == done.to_data()["gelus_by_tanh"] == gelus
    assert done.agreement.cosine > 0.99
    kinds = [a.s for node in onnx.load(done.path).graph.node if node.op_type == "Gelu" for a in node.attribute]
    assert kinds == [b"tanh"] * len(kinds)
    assert sum(node.op_type == "Gelu" for node in onnx.load(dense).graph.node) == (
        0 if isinstance(activation, nn.ReLU) else 2
    )
