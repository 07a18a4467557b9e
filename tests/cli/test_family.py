"""The sizes of one run in one table: losses, and latency measured in turn."""

from __future__ import annotations

import shutil

import onnx
import pytest
import torch
from rich.console import Console
from torch import nn

import fxprune
from fxprune.cli.snapshots import Family
from fxprune.deploy.grids import LatencySettings
from fxprune.deploy.manifest import read_manifest, write_manifest
from fxprune.deploy.onnx import export_onnx
from fxprune.deploy.outputs import ONNX, Outputs

pytestmark = pytest.mark.captures
SIZES = ("70%", "40%")
HOW = LatencySettings(grid=((1, 4), (2, 6)), threads=(1, 2), rounds=1, seconds=0.1)


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.inner = nn.Embedding(20, 8), nn.Linear(8, 8)

    def forward(self, input_ids):
        return {"out": torch.relu(self.inner(self.table(input_ids)))}


@pytest.fixture(scope="module")
def student():
    examples = {"input_ids": torch.randint(0, 20, (2, 5))}
    return fxprune.capture(Tiny().eval(), examples)


@pytest.fixture
def finished(student, tmp_path):
    """Finish a run that wrote one size on the way and whose result is the other."""
    made = export_onnx(student, {"input_ids": torch.randint(0, 20, (2, 5))}, tmp_path / ONNX).path
    (tmp_path / "70pct" / "onnx").mkdir(parents=True)
    shutil.copyfile(made, tmp_path / "70pct" / ONNX)
    facts = {"parameters": 232, "losses": {"student": {"hidden": 0.5}}, "snapshots": ["70pct", "40pct"]}
    write_manifest(tmp_path, [made], facts)

    def finish(latency: LatencySettings | None) -> Family:
        family = Family(tmp_path, None, latency, {})
        family.rows["70pct"] = (12, 400, {"hidden": 0.25})
        family.finish(SIZES, Outputs(folder=tmp_path, files=(made,), hf=None, onnx=None), student)
        return family

    return finish, tmp_path


def shown(family: Family) -> str:
    console = Console(width=300)
    with console.capture() as said:
        console.print(family.table())
    return said.get()


def test_all_sizes_are_timed_in_turn(finished):
    finish, folder = finished
    family = finish(HOW)
    rows = read_manifest(folder)["snapshot_latency"]
    assert [(row["model"], row["batch"], row["threads"]) for row in rows] == [
        (name, batch, threads) for threads in (1, 2) for batch in (1, 2) for name in ("70pct", "40pct")
    ]
    said = shown(family)
    assert "ms at 1 x 4" in said
    assert "ms at 2 x 6" in said
    assert " 12 " in said
    assert " end " in said
    assert f"{rows[1]['p50_ms']:.2f}" in said


def test_nothing_is_timed_that_should_not_be(finished):
    finish, folder = finished
    family = finish(None)
    assert "snapshot_latency" not in read_manifest(folder)
    assert " ms at " not in shown(family)
    assert "0.500" in shown(family)


def test_a_size_that_does_not_run_costs_its_latency_only(finished):
    finish, folder = finished
    path = folder / "70pct" / ONNX
    model = onnx.load(path)
    model.graph.node[0].op_type = "Unheard"
    onnx.save(model, path)
    family = finish(HOW)
    assert list(family.failures) == ["latency of all sizes"]
    assert " ms at " not in shown(family)
