"""Latencies carry what they depend on, and the models are measured in turn."""

from __future__ import annotations

import json
from io import StringIO

import pytest
import torch
from rich.console import Console
from torch import nn

from fxprune.deploy import latency
from fxprune.deploy.latency import LatencyRow, latency_table, to_json
from fxprune.deploy.latency_text import to_table
from fxprune.deploy.onnx import export_onnx
from fxprune.errors import DeployError

KWARGS = {"input_ids": torch.randint(0, 64, (5, 13)), "attention_mask": torch.ones(5, 13, dtype=torch.int64)}


class Small(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(64, width)
        self.position = nn.Embedding(40, width)
        self.inner = nn.Linear(width, width)

    def forward(self, input_ids, attention_mask):
        place = torch.arange(input_ids.shape[1], device=input_ids.device)
        return {"hidden": self.inner(self.embedding(input_ids) + self.position(place)) * attention_mask[..., None]}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    widths = {"teacher": 400, "student": 20}
    return {
        name: export_onnx(Small(width).eval(), KWARGS, folder / f"{name}.onnx").path for name, width in widths.items()
    }


def row(model: str, p50: float, **facts) -> LatencyRow:
    common = {"batch": 1, "length": 32, "threads": 1, "n": 50, "warmup": 3, "provider": "CPU", "onnxruntime": "1.0"}
    quartiles = {"p25_ms": p50 * 0.9, "p50_ms": p50, "p75_ms": p50 * 1.1, "p95_ms": p50 * 2}
    return LatencyRow(**(common | quartiles | {"model": model, "cpu": "chip", "fxprune": "0.1.0"} | facts))


def text(rows) -> str:
    out = StringIO()
    Console(file=out, width=140).print(to_table(rows))
    return out.getvalue()


def test_every_model_is_measured_at_every_shape(models):
    rows = latency_table(models, KWARGS, grid=((1, 8), (3, 16)), threads=(1, 2), rounds=2, seconds=1)
    assert [(r.threads, r.batch, r.length, r.model) for r in rows] == [
        (threads, *shape, model) for threads in (1, 2) for shape in ((1, 8), (3, 16)) for model in models
    ]
    for measured in rows:
        assert 0 < measured.p25_ms <= measured.p50_ms <= measured.p75_ms <= measured.p95_ms
        assert measured.n == 2 * 5
        assert measured.provider == "CPUExecutionProvider"
        assert measured.cpu


def test_models_take_turns_and_swap_their_order(monkeypatch):
    calls = []

    class Session:
        def __init__(self, name):
            self.name = name

        def run(self, names, inputs):
            calls.append(self.name)

    sessions = {name: Session(name) for name in "ab"}
    times = latency._alternate(sessions, {"a": {}, "b": {}}, rounds=2, seconds=9)
    assert "".join(calls) == "aaaaaabbbbbbbbbbbbaaaaaa"
    assert {name: len(taken) for name, taken in times.items()} == {"a": 10, "b": 10}
    calls.clear()
    latency._alternate(sessions, {"a": {}, "b": {}}, rounds=100, seconds=0)
    assert len(calls) == 3 * 12  # three rounds, however little time there is


def test_inputs_are_not_padded():
    kwargs = latency.full_inputs(KWARGS, 4, 9)
    assert kwargs["input_ids"].shape == (4, 9)
    assert kwargs["attention_mask"].min() == 1


def test_images_are_measured_by_batch_only():
    assert latency.cells({"pixel_values": torch.rand(2, 3, 8, 8)}, ((1, 32), (1, 128), (8, 128))) == [
        (1, None),
        (8, None),
    ]


def test_a_shape_the_model_cannot_take_is_an_error(models):
    with pytest.raises(DeployError, match="teacher cannot run at batch 1, length 99"):
        latency_table(models, KWARGS, grid=((1, 99),), rounds=1)


def test_the_table_quotes_a_speed_up_with_its_range():
    rows = [row("teacher", 30.0), row("student", 10.0), row("teacher", 8.0, threads=2), row("student", 4.0, threads=2)]
    shown = text(rows)
    assert "3.00x (2.45-3.67)" in shown
    assert "2.00x" in shown
    assert "onnxruntime 1.0 CPU, chip" in shown
    assert "27.00-33.00" in shown


def test_json_holds_every_field():
    assert json.loads(to_json([row("teacher", 30.0)]))[0]["p95_ms"] == 60.0
