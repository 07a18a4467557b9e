"""``fxprune distill`` under a launcher: one result, told once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCHERS = {
    "torchrun": ("-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "fxprune.cli"),
    "accelerate": (
        *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
        *("--mixed_precision", "no", "--dynamo_backend", "no", "-m", "fxprune.cli"),
    ),
    "one": ("-m", "fxprune.cli"),
}
OPTIONS = ("--target-params", "50%", "--max-steps", "8", "--batch-size", "4", "--length", "16", "--device", "cpu")


def launch(launcher: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, *LAUNCHERS[launcher], "distill", *arguments, *OPTIONS, "--no-latency"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def rows(folder: str) -> list[dict]:
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_two_processes_leave_what_one_leaves(bert, text, launcher):
    one, two = (launch(kind, bert, "--dataset", text, "--output", kind) for kind in ("one", launcher))
    assert one.returncode == two.returncode == 0, two.stderr
    assert two.stdout.count("results in") == two.stderr.count("writing plan") == 1
    assert Path("one/plan.json").read_text() == Path(launcher, "plan.json").read_text()
    for got, wanted in zip(rows(launcher), rows("one"), strict=True):
        assert got["losses"] == pytest.approx(wanted["losses"], abs=1e-4)
        assert got.get("discrepancy") == pytest.approx(wanted.get("discrepancy"), abs=1e-4)
        assert got.get("jump") == pytest.approx(wanted.get("jump"), abs=1e-4)
    listed = [json.loads((Path(folder) / "fxprune.json").read_text()) for folder in ("one", launcher)]
    assert listed[0]["files"] == listed[1]["files"]
    assert listed[0]["losses"]["student"] == pytest.approx(listed[1]["losses"]["student"], abs=1e-4)


@pytest.mark.slow
def test_a_mistake_is_told_in_full_by_the_first_process(bert):
    result = launch("torchrun", bert, "--dataset", "nothing.txt")
    assert "DataError: there is no file 'nothing.txt'\n" in result.stderr
    assert not Path("out").exists()
