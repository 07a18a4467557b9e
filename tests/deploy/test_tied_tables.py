"""A table tied to the output is stored once in int8 files, whatever product reads it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from fxprune.deploy import int8
from fxprune.deploy.int8 import export_int8
from fxprune.deploy.onnx import export_onnx
from fxprune.deploy.onnx_facts import read_facts
from fxprune.deploy.ort import open_session
from fxprune.shapes import resized

TOKENS, WIDTH = 90, 40


class Tied(nn.Module):
    """A vocabulary in and out through one table, whose rows are of very different sizes."""

    def __init__(self, last: bool, tokens: int = TOKENS) -> None:
        super().__init__()
        self.table = nn.Embedding(tokens, WIDTH)
        self.inner = nn.Linear(WIDTH, WIDTH)
        self.last = last  # a product of two axes is a Gemm in the file
        with torch.no_grad():
            self.table.weight.mul_(torch.logspace(-0.5, 0.5, tokens)[:, None])

    def forward(self, input_ids):
        rows = self.table(input_ids)
        hidden = torch.tanh(self.inner(rows))
        return {
            "rows": rows,
            "logits": nn.functional.linear(hidden[:, -1] if self.last else hidden, self.table.weight),
        }


@pytest.mark.captures
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("texts", [0, 4])
@pytest.mark.parametrize(("last", "tokens"), [(False, TOKENS), (True, TOKENS), (False, WIDTH), (True, WIDTH)])
def test_it_is_stored_once_with_a_scale_for_each_row(tmp_path, monkeypatch, last, tokens, texts, large):
    torch.manual_seed(0)
    examples = {"input_ids": torch.randint(0, tokens, (5, 13))}
    model = Tied(last, tokens).eval()
    dense = export_onnx(model, examples, tmp_path / "dense.onnx").path
    if large:
        monkeypatch.setattr(int8, "_LIMIT", 0)
    done = export_int8(
        dense, tmp_path / "out" / "int8.onnx", [resized(examples, 4, 11)], calibration=[examples] * texts
    )
    assert (done.products, done.left) == (2, 0)
    assert done.bytes < tokens * (WIDTH + 8) + WIDTH * WIDTH + 8_000
    held = onnx.load(done.path).graph.initializer
    assert not any(one.data_type == TensorProto.FLOAT and len(one.dims) == 2 for one in held)
    matrices = [one for one in held if len(one.dims) == 2]
    assert [one.data_type for one in matrices] == [TensorProto.INT8] * 2  # the table, and the product between
    weights = model.table.weight.detach().numpy()
    ids = np.arange(tokens)[None]
    rows = open_session(done.path).run(["rows"], {"input_ids": ids})[0][0]
    step = np.abs(weights).max(1, keepdims=True) / (127 if done.bits == 8 else 63)
    assert np.all(np.abs(rows - weights) <= 0.51 * step)


@pytest.mark.captures
def test_two_products_and_two_lookups_of_one_table(tmp_path):
    class Twice(Tied):
        def forward(self, input_ids):
            rows = self.table(input_ids) + self.table(89 - input_ids)
            return {"one": rows @ self.table.weight.T, "other": torch.tanh(rows) @ self.table.weight.T}

    torch.manual_seed(0)
    examples = {"input_ids": torch.randint(0, TOKENS, (5, 13))}
    dense = export_onnx(Twice(last=False).eval(), examples, tmp_path / "dense.onnx").path
    done = export_int8(dense, tmp_path / "int8.onnx", [examples])
    assert (done.products, done.left) == (2, 0)
    assert done.bytes < 2 * TOKENS * WIDTH + 8_000
    assert done.agreement.cosine > 0.999


def test_a_table_that_is_read_along_its_other_axis_too(tmp_path):
    """Rows by number, columns by number, and a product: rows alone come from the int8 weight."""
    weight = np.random.default_rng(0).normal(size=(TOKENS, WIDTH)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], axis=0),
        helper.make_node("Gather", ["table", "columns"], ["picked"], axis=1),
        helper.make_node("Gemm", ["rows", "table"], ["logits"], transB=1),
    ]
    ids, columns = (helper.make_tensor_value_info(name, TensorProto.INT64, [name]) for name in ("ids", "columns"))
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["ids", TOKENS]),
        helper.make_tensor_value_info("picked", TensorProto.FLOAT, [TOKENS, "columns"]),
    ]
    graph = helper.make_graph(nodes, "g", [ids, columns], outputs, [numpy_helper.from_array(weight, "table")])
    path = tmp_path / "dense.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    done = export_int8(path, tmp_path / "int8.onnx", [{"ids": torch.arange(5), "columns": torch.arange(3)}])
    assert read_facts(done.path).ops["Gather"] == 3
    assert done.agreement.cosine > 0.999
