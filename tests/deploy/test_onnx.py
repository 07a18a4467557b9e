"""ONNX files agree with PyTorch at every shape, or are not written."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from fxprune.deploy import onnx as ladder
from fxprune.deploy.lean import values
from fxprune.deploy.onnx import LADDER, Rung, export_onnx
from fxprune.deploy.ort import check_parity, open_session, run
from fxprune.errors import DeployError
from fxprune.shapes import resized

pytestmark = pytest.mark.captures

LEAN = "lean"


@pytest.mark.slow
def test_every_model_exports_with_free_batch_and_length(tiny, tmp_path):
    model = tiny.build()
    export = export_onnx(model, tiny.inputs(), tmp_path / "model.onnx")
    assert export.max_error <= 1e-5
    assert export.rung == LEAN
    other = resized(tiny.inputs(), 2, 21, seed=7)
    with torch.no_grad():
        want = model(**other).logits
    torch.testing.assert_close(run(open_session(export.path), other)["logits"], want, rtol=1e-4, atol=1e-5)


def test_the_file_has_the_names_of_the_model_and_none_of_this_machine(bert, tmp_path):
    export = export_onnx(bert.build(), bert.inputs(), tmp_path / "onnx" / "model.onnx")
    assert export.inputs == {"input_ids": ("batch", "length"), "attention_mask": ("batch", "length")}
    assert export.outputs == ("logits",)
    assert (export.opset, export.rung, export.failures) == (23, LEAN, {})
    assert export.files == (export.path,)
    assert [file.name for file in export.path.parent.iterdir()] == ["model.onnx"]
    content = export.path.read_bytes()
    assert b"site-packages" not in content
    assert b"s43" not in content
    assert check_parity(export.path, bert.build(), bert.inputs()) <= 1e-5
    model = onnx.load(export.path)
    onnx.checker.check_model(model)
    assert stored(model) == sum(parameter.numel() for parameter in bert.build().parameters())
    assert {node.domain for node in model.graph.node} == {""}  # no op of one runtime only
    layers = bert.config.num_hidden_layers
    assert export.fused == {"Attention": layers, "BiasGelu": layers + 1, "LayerNormalization": 2 * layers + 2}
    assert 0 < export.nodes < len(model.graph.node)


def stored(model):
    """Count the stored entries of weights; small constants and the position ids are no weights."""
    sizes = [
        int(np.prod(weight.dims)) for weight in model.graph.initializer if weight.data_type == onnx.TensorProto.FLOAT
    ]
    return sum(size for size in sizes if size > 8)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(64, 24)
        self.inner = nn.Linear(24, 24)

    def forward(self, input_ids, attention_mask):
        hidden = self.inner(self.embedding(input_ids)).tanh() * attention_mask[..., None]
        return {"hidden": hidden, "logits": nn.functional.linear(hidden, self.embedding.weight)}


@pytest.fixture
def small():
    torch.manual_seed(0)
    kwargs = {"input_ids": torch.randint(0, 64, (5, 13)), "attention_mask": torch.ones(5, 13, dtype=torch.int64)}
    return Small().eval(), kwargs


def test_a_tied_weight_is_stored_once(small, tmp_path):
    model, kwargs = small
    export = export_onnx(model, kwargs, tmp_path / "model.onnx")
    stored_sizes = [tuple(weight.dims) for weight in onnx.load(export.path).graph.initializer]
    assert [sizes for sizes in stored_sizes if 64 in sizes] == [(64, 24)]
    assert export.max_error <= 1e-5
    assert export.outputs == ("hidden", "logits")


def test_a_value_returned_twice_is_two_outputs(small, tmp_path):
    class Twice(Small):
        def forward(self, input_ids, attention_mask):
            last = self.inner(self.embedding(input_ids)) * attention_mask[..., None]
            return {"logits": last + 1, "last": last, "same": last}

    done = export_onnx(Twice().eval(), small[1], tmp_path / "model.onnx")
    assert [output.name for output in onnx.load(done.path).graph.output] == ["logits", "last", "same"]


def test_axes_can_be_given_other_names(small, tmp_path):
    model, kwargs = small
    names = {"input_ids": {0: "rows", 1: "tokens"}}
    export = export_onnx(model, kwargs, tmp_path / "model.onnx", dynamic_axes=names)
    assert export.inputs["attention_mask"] == ("rows", "tokens")


def test_a_rung_that_fails_is_recorded_and_the_next_one_is_tried(small, tmp_path):
    model, kwargs = small
    broken = Rung(name="no such opset", opset=999)
    export = export_onnx(model, kwargs, tmp_path / "model.onnx", ladder=(broken, *LADDER))
    assert export.rung == LEAN
    assert list(export.failures) == ["no such opset"]


def wrong(model, **_):
    """Leave out an op."""
    node = next(node for node in model.graph if node.op_type == "Tanh")
    values.replace(node.outputs[0], node.inputs[0])


def broken(model, **_):
    raise RuntimeError("no such axis")


@pytest.mark.parametrize(("fault", "reason"), [(wrong, "away from PyTorch"), (broken, "no such axis")])
def test_a_rewrite_that_is_wrong_is_caught_and_the_next_rung_is_taken(small, tmp_path, monkeypatch, fault, reason):
    monkeypatch.setattr(ladder, "make_lean", fault)
    export = export_onnx(*small, tmp_path / "model.onnx")
    assert export.rung == "opset 23"
    assert list(export.failures) == [LEAN]
    assert reason in export.failures[LEAN]


@pytest.mark.slow
def test_plain_attention_agrees_as_well(bert, tmp_path):
    export = export_onnx(bert.build(), bert.inputs(), tmp_path / "model.onnx", ladder=LADDER[-1:])
    assert "Attention" not in {node.op_type for node in onnx.load(export.path).graph.node}
    assert export.max_error <= 1e-5


def test_no_rung_left_lists_each_with_its_reason_and_keeps_the_old_file(small, tmp_path):
    model, kwargs = small
    (tmp_path / "model.onnx").write_text("old")
    with pytest.raises(DeployError, match="no ONNX file agrees with PyTorch") as refusal:
        export_onnx(model, kwargs, tmp_path / "model.onnx", tolerance=-1.0, ladder=LADDER[:2])
    lines = refusal.value.cause.strip().splitlines()
    assert [line.split(":")[0].strip() for line in lines] == [LEAN, "opset 23"]
    assert "away from PyTorch" in lines[0]
    assert (tmp_path / "model.onnx").read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_a_file_that_disagrees_at_another_shape_only_is_refused(small, tmp_path, monkeypatch):
    model, kwargs = small
    monkeypatch.setattr(ladder, "run", lambda session, inputs: wrong_when_resized(run(session, inputs), inputs))
    with pytest.raises(DeployError, match="away from PyTorch"):
        export_onnx(model, kwargs, tmp_path / "model.onnx", ladder=LADDER[:1])


def wrong_when_resized(outputs, inputs):
    return outputs if len(inputs["input_ids"]) == 5 else {name: value * 1.01 for name, value in outputs.items()}


def test_large_weights_lie_beside_the_file_and_go_with_it(small, tmp_path, monkeypatch):
    model, kwargs = small
    monkeypatch.setattr(ladder, "_PROTOBUF_LIMIT", 1000)
    export = export_onnx(model, kwargs, tmp_path / "model.onnx")
    assert [file.name for file in export.files] == ["model.onnx.data", "model.onnx"]
    assert check_parity(export.path, model, kwargs) <= 1e-5
    monkeypatch.undo()
    assert export_onnx(model, kwargs, tmp_path / "model.onnx").files == (export.path,)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_nothing_is_printed(small, tmp_path, capfd):
    model, kwargs = small
    export_onnx(model, kwargs, tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")
