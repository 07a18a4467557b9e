"""Models side by side: outputs compared on equal inputs, and every number with what it depends on."""

from __future__ import annotations

import json

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from fxprune.deploy.comparison import Timing, compare
from fxprune.deploy.comparison_text import to_markdown
from fxprune.deploy.competitors import Competitor, Field, common_examples
from fxprune.deploy.onnx import export_onnx
from fxprune.deploy.ort import read_session
from fxprune.errors import DeployError, SourceError, UsageError

EXAMPLES = {"input_ids": torch.randint(0, 64, (5, 13)), "attention_mask": torch.ones(5, 13, dtype=torch.int64)}
QUICK = Timing(grid=((1, 6), (2, 9)), rounds=1, seconds=0, warmup=1)
MODEL_KEYS = ["model", "bytes", "opsets", "nodes", "load_ms", "start_mb", "rss_mb", "peak_mb", "pytorch_error"]
MODEL_KEYS += ["agreement", "differs"]
ROW_KEYS = ["model", "batch", "length", "threads", "p50_ms", "p95_ms", "p25_ms", "p75_ms", "n", "warmup", "provider"]
ROW_KEYS += ["onnxruntime", "cpu", "fxprune", "p90_ms", "sequences_per_second", "tokens_per_second"]


class Small(nn.Module):
    def __init__(self, width: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding, self.inner = nn.Embedding(64, width), nn.Linear(width, width)

    def forward(self, input_ids, attention_mask):
        return {"hidden": self.inner(self.embedding(input_ids)) * attention_mask[..., None]}


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """One model as exported, the same file without examples, and a narrower one."""
    folder = tmp_path_factory.mktemp("three")
    wide = export_onnx(Small(24, 0).eval(), EXAMPLES, folder / "wide.onnx")
    narrow = export_onnx(Small(12, 1).eval(), EXAMPLES, folder / "narrow.onnx")
    return [
        Competitor(name="wide", path=wide.path, examples=EXAMPLES, pytorch_error=wide.max_error),
        Competitor(name="file", path=wide.path),
        Competitor(name="narrow", path=narrow.path),
    ]


@pytest.fixture(scope="module")
def compared(three):
    said = []
    return compare(three, QUICK, said.append), said


def test_outputs_are_compared_before_time_is_taken(compared):
    found, said = compared
    assert said == ["comparing outputs", "memory and load time", "timing, 1 thread"]
    first, file, narrow = found.models
    assert first.agreement is None
    assert first.differs is None
    assert file.agreement is not None
    assert file.agreement.max_error == 0.0
    assert narrow.agreement is None
    assert "another shape" in narrow.differs
    assert found.apart(1e-3) == ["narrow"]


def test_the_json_is_as_described(compared):
    data = json.loads(compared[0].to_json())
    assert list(data) == ["format", "version", "environment", "baseline", "models", "rows"]
    assert (data["format"], data["version"], data["baseline"]) == ("fxprune bench", 1, "wide")
    assert set(data["environment"]) >= {
        "cpu",
        "cores",
        "system",
        "python",
        "provider",
        "onnxruntime",
        "onnx",
        "fxprune",
    }
    assert [list(model) for model in data["models"]] == [MODEL_KEYS] * 3
    assert [list(row) for row in data["rows"]] == [ROW_KEYS] * 6
    for model in data["models"]:
        assert model["bytes"] > 1000
        assert model["load_ms"] > 0
        if model["rss_mb"] is not None:  # a system that tells
            assert 0 < model["start_mb"] < model["rss_mb"] <= model["peak_mb"]


def test_markdown_has_a_row_for_each_number(compared):
    text = to_markdown(compared[0])
    assert text.count("| wide |") == 3  # two shapes, and what it is
    assert "| model | batch x length | threads | p50 ms |" in text
    assert "python 3" in text
    assert all(line.count("|") == text.splitlines()[2].count("|") for line in text.splitlines()[2:10])


def test_all_get_the_same_ids_and_none_too_large(three):
    field = Field.of(three, 1, "cpu")
    feeds = field.feeds(2, 7)
    assert all((one["input_ids"] == feeds["wide"]["input_ids"]).all() for one in feeds.values())
    made_up = Field.of(three[1:], 1, "cpu").feeds(40, 7)["narrow"]["input_ids"]
    assert 40 < made_up.max() < 64  # rows of the table, read from the file


def test_the_smallest_ids_are_taken():
    large, small = ({"input_ids": torch.tensor([[9, top]])} for top in (900, 30))
    assert common_examples([large, small]) is small
    assert common_examples([]) == {}


def test_a_length_no_model_takes_is_one_sentence(tmp_path):
    class Placed(Small):
        def forward(self, input_ids):
            return {"hidden": self.embedding(input_ids) + self.inner.weight[: input_ids.shape[1]]}

    path = export_onnx(Placed(24, 0).eval(), {"input_ids": EXAMPLES["input_ids"]}, tmp_path / "placed.onnx").path
    with pytest.raises(DeployError, match="placed cannot run at batch 1, length 99"):
        compare([Competitor(name="placed", path=path)], Timing(grid=((1, 99),)))


def file_of(path, opset: int = 20, name: str = "x"):
    x, y = (helper.make_tensor_value_info(one, TensorProto.FLOAT, ["batch", 4]) for one in (name, "y"))
    graph = helper.make_graph([helper.make_node("Relu", [name], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), path)
    return path


def test_models_without_a_common_input_are_refused(three, tmp_path):
    other = Competitor(name="other", path=file_of(tmp_path / "other.onnx"))
    with pytest.raises(UsageError, match="wide and other take different inputs") as refusal:
        compare([three[0], other], QUICK)
    assert refusal.value.cause == "attention_mask, input_ids against x"


def test_an_opset_nobody_knows_and_a_broken_file_are_one_sentence(tmp_path):
    with pytest.raises(SourceError, match="is no ONNX file that runs here") as refusal:
        read_session(file_of(tmp_path / "new.onnx", opset=99))
    assert "opset 99" in str(refusal.value.cause).lower()
    (tmp_path / "broken.onnx").write_text("nonsense")
    with pytest.raises(SourceError, match="is no ONNX file"):
        read_session(tmp_path / "broken.onnx")
    with pytest.raises(SourceError, match="there is no ONNX file"):
        read_session(tmp_path / "none.onnx")


class RowByRow(Small):
    """Looks at each row on its own, so that the number of rows is in the graph."""

    def forward(self, input_ids, attention_mask):
        rows = [row * 2 for row in self.inner(self.embedding(input_ids))]
        return {"hidden": torch.stack(rows) * attention_mask[..., None]}


def test_models_are_timed_at_the_only_batch_that_one_of_them_takes(three, tmp_path):
    one = {name: value[:1] for name, value in EXAMPLES.items()}
    fixed = export_onnx(RowByRow(24, 2).eval(), one, tmp_path / "fixed.onnx")
    both = [three[0], Competitor(name="fixed", path=fixed.path)]
    field = Field.of(both, 1, "cpu")
    assert field.shapes([(1, 6), (2, 9), (8, 9)]) == [(1, 6), (1, 9)]
    assert {(row.batch, row.length) for row in compare(both, QUICK).rows} == {(1, 6), (1, 9)}
