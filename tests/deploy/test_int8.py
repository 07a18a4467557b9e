"""int8 files of tiny models stay near the float32 file, and say how near."""

from __future__ import annotations

import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from fxprune.deploy import int8
from fxprune.deploy.int8 import export_int8
from fxprune.deploy.onnx import export_onnx
from fxprune.deploy.onnx_facts import read_facts
from fxprune.deploy.quantiser import Quantiser
from fxprune.deploy.weighted import prepared, products_of
from fxprune.errors import DeployError
from fxprune.shapes import resized


class Tied(nn.Module):
    """A vocabulary in and out through one table, and a product between."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(90, 32)
        self.inner = nn.Linear(32, 32)

    def forward(self, input_ids):
        hidden = torch.tanh(self.inner(self.table(input_ids)))
        return {"logits": nn.functional.linear(hidden, self.table.weight)}


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    torch.manual_seed(0)
    examples = {"input_ids": torch.randint(0, 90, (5, 13))}
    path = tmp_path_factory.mktemp("dense") / "model.onnx"
    return export_onnx(Tied().eval(), examples, path).path, [resized(examples, 4, 11), resized(examples, 1, 7)]


def test_dynamic_int8_is_small_and_near(dense, tmp_path):
    path, examples = dense
    done = export_int8(path, tmp_path / "small.onnx", examples)
    assert (done.mode, done.products, done.left) == ("dynamic", 2, 0)
    assert [file.name for file in tmp_path.iterdir()] == ["small.onnx"] == [file.name for file in done.files]
    assert done.agreement.max_error < 0.05
    assert done.agreement.cosine > 0.998
    assert done.agreement.top1 >= 0.8
    assert done.to_data()["bytes"] == done.path.stat().st_size < done.bytes_before


def test_weights_have_7_bits_where_8_overflow_the_sums(dense, tmp_path, monkeypatch):
    path, examples = dense
    near = {8: 0.9, 7: 0.95}
    monkeypatch.setattr(int8, "_nearest", lambda made, *_: max((near[bits], bits, made[bits]) for bits in made)[1:])
    done = export_int8(path, tmp_path / "int8.onnx", examples)
    assert done.bits == 7
    weights = [t for t in onnx.load(done.path).graph.initializer if t.name.endswith("_quantized") and len(t.dims) == 2]
    assert weights
    assert max(abs(numpy_helper.to_array(weight).astype(int)).max() for weight in weights) <= 64


def test_tables_may_stay_float(dense, tmp_path):
    path, examples = dense
    small = export_int8(path, tmp_path / "int8.onnx", examples)
    large = export_int8(path, tmp_path / "tables.onnx", examples, tables=False)
    assert large.bytes > small.bytes + 2 * 90 * 32
    assert large.products == small.products


def test_static_int8_keeps_the_nearest_calibrator(dense, tmp_path):
    path, examples = dense
    ids = examples[0]["input_ids"]
    calibration = [{"input_ids": ids.roll(shift, 1)[:, : 11 - shift]} for shift in range(4)]
    done = export_int8(path, tmp_path / "static.onnx", examples, calibration=calibration)
    assert done.mode == "static"
    assert set(done.tried) == {"MinMax", "Percentile", "Entropy"}
    assert done.tried[done.calibrator] == max(done.tried.values())
    assert done.agreement.cosine > 0.99
    assert (done.products, done.left) == (2, 0)


def test_a_calibrator_that_does_not_work_is_named(dense, tmp_path, monkeypatch):
    path, examples = dense
    real = Quantiser._static

    def static(self, start, calibration, calibrator, bits):
        if calibrator == "Entropy":
            raise ValueError("inhomogeneous shape")
        return real(self, start, calibration, calibrator, bits)

    monkeypatch.setattr(Quantiser, "_static", static)
    done = export_int8(path, tmp_path / "static.onnx", examples, calibration=examples * 3)
    assert set(done.tried) == {"MinMax", "Percentile"}
    assert done.to_data()["failed"] == {"Entropy": "inhomogeneous shape"}


class Classifier(nn.Module):
    """A product on the first token alone: of two axes, so the file holds it as a Gemm, and not square."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(90, 32)
        self.inner = nn.Linear(32, 32)
        self.head = nn.Linear(32, 3)

    def forward(self, input_ids):
        return {"logits": self.head(torch.tanh(self.inner(self.table(input_ids)))[:, 0])}


@pytest.mark.captures
@pytest.mark.parametrize("texts", [0, 4])
def test_a_head_for_classes_is_quantised(tmp_path, texts):
    torch.manual_seed(0)
    examples = {"input_ids": torch.randint(0, 90, (5, 13))}
    dense = export_onnx(Classifier().eval(), examples, tmp_path / "dense.onnx").path
    assert "Gemm" in read_facts(dense).ops
    done = export_int8(dense, tmp_path / "int8.onnx", [examples], calibration=[examples] * texts)
    assert (done.products, done.left) == (2, 0)
    assert done.agreement.cosine > 0.99


def test_a_tied_table_gets_a_copy_for_each_use(dense, tmp_path):
    path, _ = dense
    ready = prepared(path, tmp_path / "ready.onnx")
    assert len(ready.products) == 2
    assert len(ready.tied) == 1
    assert ready.tables == ()
    assert "Transpose" not in read_facts(ready.path).ops
    assert set(products_of(ready.path)) == set(ready.products)


def test_a_model_without_products_has_nothing_to_quantise(tmp_path):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "relu.onnx")
    with pytest.raises(DeployError, match="no matrix product with a weight"):
        export_int8(tmp_path / "relu.onnx", tmp_path / "int8.onnx", [{"x": torch.ones(2, 4)}])
    assert [file.name for file in tmp_path.iterdir()] == ["relu.onnx"]
