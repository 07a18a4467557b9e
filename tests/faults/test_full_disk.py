"""A disk that is full, memory that ends, data that cannot be read: one sentence, and a folder to go on from."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from keeping import Kept, assert_same
from text import write_jsonl

from faults.harness import Trial
from fxprune.distillation import packing
from fxprune.errors import DataError


def failing(trial: Trial, name: str, point: str, nth: int, what: str) -> str:
    """Run what fails at a point; return what it said."""
    fault = {"point": point, "nth": nth, "when": "before", "what": what}
    assert trial.run(name, resume=False, fault=fault)["ended"] == 1
    said = trial.said(name)
    assert "Traceback" not in said
    return said


def assert_goes_on(trial: Trial, name: str) -> None:
    assert trial.run(name, resume=True)["ended"] == 0, trial.said(name)
    assert trial.digest(name) == trial.wanted


def test_a_full_disk_stops_the_run_and_loses_nothing(in_python: Trial) -> None:
    said = failing(in_python, "full", "weights of a checkpoint", 7, "full disk")
    assert "DistillError: the checkpoint of step 12 cannot be written to" in said
    assert "  cause   No space left on device\n" in said
    assert "go on from the last checkpoint: fxprune distill --resume" in said
    assert_goes_on(in_python, "full")


def test_memory_that_ends_stops_the_run(in_python: Trial) -> None:
    said = failing(in_python, "memory", "an update", 7, "no memory")
    assert "DistillError: there is not enough memory for step 7\n  cause   RuntimeError: " in said
    assert_goes_on(in_python, "memory")


def test_data_that_cannot_be_read_any_further_stop_the_run_after_its_last_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = packing.encoded

    def failing(*args: Any) -> Iterator[Any]:
        for number, documents in enumerate(real(*args)):
            if number == 1 and args[-1] is not None:  # of the training rows
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            yield documents

    dataset, options = write_jsonl(tmp_path, 700), {"batch_size": 64, "max_steps": 12}
    run = Kept(tmp_path / "out", dataset, options=options)
    with monkeypatch.context() as patched:
        patched.setattr(packing, "encoded", failing)
        with pytest.raises(DataError, match=r"data set '.*jsonl' cannot be read\n.*Input/output error"):
            run.run()
    (checkpoint,) = run.checkpoints
    assert checkpoint != "step-12"
    assert_same(run.resumed(), Kept(tmp_path / "whole", dataset, options=options).run())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "nth"),
    [
        ("weights of a checkpoint", 4),
        ("a metrics line", 7),
        ("a journal line", 1),
        ("the plan", 1),
        ("the graph", 1),
        ("the ONNX file", 1),
        ("a sync", 9),
    ],
)
def test_wherever_a_command_finds_it_full(at_the_command_line: Trial, point: str, nth: int) -> None:
    name = f"full-{point}"
    assert "No space left on device" in failing(at_the_command_line, name, point, nth, "full disk")
    assert_goes_on(at_the_command_line, name)


@pytest.mark.slow
def test_a_small_disk_that_is_made_larger(in_python: Trial) -> None:
    disk = in_python.folder / "disk"
    disk.mkdir()
    needed = sum(file.stat().st_blocks for file in (in_python.folder / "undisturbed").rglob("*")) // 2  # in KiB
    mount = ["mount", "-t", "tmpfs", "-o", f"size={needed // 2}k", "tmpfs", str(disk)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        assert in_python.run("disk/out", resume=False)["ended"] == 1
        assert "No space left" in in_python.said("disk/out")
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert_goes_on(in_python, "disk/out")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
