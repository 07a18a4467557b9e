"""Back to before a cut, and on from there; which checkpoints are kept for that."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from keeping import Kept, assert_same
from text import write_jsonl

from fxprune.distillation.checkpoints.keeper import ORDER, Keeping
from fxprune.distillation.checkpoints.order import Order, read_order
from fxprune.distillation.checkpoints.undoing import cuts_in, undo_to
from fxprune.distillation.config import DistillConfig
from fxprune.distillation.report import DistillResult
from fxprune.errors import CheckpointError, UsageError


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Kept, DistillResult]:
    folder = tmp_path_factory.mktemp("run")
    run = Kept(folder / "out", write_jsonl(folder), options={"max_steps": 10})
    wanted = run.run(every=2, last=1)
    order = Order(model="demo", dataset="demo", config=DistillConfig(target_ratio=0.5))
    (run.folder / "checkpoints" / ORDER).write_text(json.dumps(order.to_data()))
    return run, wanted


@pytest.fixture
def finished(original: tuple[Kept, DistillResult], tmp_path: Path) -> Kept:
    shutil.copytree(original[0].folder, tmp_path / "out")
    return replace(original[0], folder=tmp_path / "out")


def test_a_cut_is_undone_and_the_run_goes_on(finished: Kept, original: tuple[Kept, DistillResult]) -> None:
    cuts = cuts_in(finished.folder)
    assert [cut.step for cut in cuts] == [3, 5, 7]
    assert all(cut.units and cut.jump for cut in cuts)
    assert cuts[0].params[0] > cuts[0].params[1] == cuts[1].params[0]
    worst = max(cuts, key=lambda cut: cut.cost or 0.0)
    before = worst.step - 1
    assert set(finished.checkpoints) == {"step-10", f"step-{before}"}, "the last, and that before the costliest cut"
    back = undo_to(finished.folder, worst.step)
    assert back == before
    assert [cut.step for cut in cuts_in(finished.folder)] == [step for step in (3, 5, 7) if step <= back]
    assert finished.checkpoints == [f"step-{back}"]
    assert_same(finished.resumed(), original[1])


def test_without_a_checkpoint_before_it_begins_anew(finished: Kept, original: tuple[Kept, DistillResult]) -> None:
    assert undo_to(finished.folder, 1) == 0
    assert finished.checkpoints == []
    assert finished.journal == ""
    assert_same(finished.resumed(), original[1])


@pytest.mark.parametrize("step", [11, 1000])
def test_a_step_that_was_not_reached_is_refused(finished: Kept, step: int) -> None:
    before = finished.checkpoints
    with pytest.raises(UsageError, match=rf"has no step {step}\n  remedy  give one from 1 to 10"):
        undo_to(finished.folder, step)
    assert finished.checkpoints == before


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no run in '.*' to go on with"):
        undo_to(tmp_path, 1)
    with pytest.raises(CheckpointError, match=r"there is no journal in '.*' that can be read"):
        cuts_in(tmp_path)


def test_a_line_that_is_half_written_is_left_out(finished: Kept) -> None:
    with (finished.folder / "journal.jsonl").open("a") as file:
        file.write('{"step": 9, "rem')
    assert [cut.step for cut in cuts_in(finished.folder)] == [3, 5, 7]


def test_what_a_run_was_told_is_read_back_or_refused(tmp_path: Path) -> None:
    config = DistillConfig(target_params="30M", snapshots=("60M", "30M"), log_with=(), micro_batch=4)
    order = Order(model="demo", dataset="text", config=config, grid=((1, 32), (8, 128)), threads=(1, 2))
    path = tmp_path / "checkpoints" / ORDER
    path.parent.mkdir()
    path.write_text(json.dumps(order.to_data()))
    assert read_order(tmp_path) == order
    text = path.read_text()
    broken = {
        '"micro_batch": 4': '"micro_batch": "4"',
        '"max_steps": 200': '"max_steps": 0',
        '"length": 128': '"length": true',
        '"precision": "float32"': '"precision": "float8"',
        '"interval": 5': '"interval": 0.5',
        '"model": "demo"': '"model": 1',
        '"grid": [[1, 32]': '"grid": [[1, 32, 3]',
        '"seed": 0': '"sead": 0',
        '"version": 1': '"version": 2',
        '"format": "fxprune run"': '"format": "a plan"',
    }
    for old, new in broken.items():
        assert old in text
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(CheckpointError, match=r"run.json' is damaged"):
            read_order(tmp_path)
    with pytest.raises(UsageError, match="max_steps cannot change once a run has begun"):
        order.changed({"max_steps": 3})
    assert order.changed({"interval": 9, "eval_every": 0}).config.schedule.interval == 9


@pytest.mark.parametrize("name", ["every", "last"])
def test_numbers_that_cannot_be_meant_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{name} is 0"):
        Keeping(folder=tmp_path, **{name: 0})
