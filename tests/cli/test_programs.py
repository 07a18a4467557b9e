"""Commands on `.pt2` files, which need nothing of the model's source code."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.export import Dim


@pytest.fixture
def stored(here) -> str:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 6)).eval()
    sizes = ({0: Dim("batch")},)
    torch.export.save(torch.export.export(model, (torch.randn(5, 6),), dynamic_shapes=sizes), here / "mine.pt2")
    return "mine.pt2"


def test_a_stored_program_is_inspected_explained_pruned_and_exported(run, stored, here):
    told = json.loads(run("inspect", "--model", stored, "--json").stdout)
    assert [group["size"] for group in told["groups"] if not group["frozen"]] == [16]
    assert "holds 0.weight[0]" in run("explain", "--model", stored, "0.bias:0").stdout
    done = run("prune", "--model", stored, "--ratio", 0.5, "--verify", "--no-latency", "--output", "out", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["params"] == {"teacher": 214, "student": 110}
    again = run("prune", "--model", "out", "--ratio", 0.5, "--no-latency", "--output", "less", "--json")
    assert json.loads(again.stdout)["params"] == {"teacher": 110, "student": 58}
    done = run("export", "--model", stored, "--output", "mine.onnx", "--json")
    assert json.loads(done.stdout)["max_error"] < 1e-5


def test_a_stored_program_that_is_none_is_refused(run, here):
    (here / "bad.pt2").write_text("nonsense")
    for name, said in (("none.pt2", "there is no file none.pt2"), ("bad.pt2", "bad.pt2 is no exported program")):
        result = run("inspect", "--model", name)
        assert result.exit_code == 2
        assert said in result.stderr
