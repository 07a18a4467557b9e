"""A run that was stopped ends as one that was not, bit for bit, whatever it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from keeping import FAST, Kept, assert_same
from labelled import classified
from text import write_jsonl

from fxprune.distillation.config import ScheduleConfig
from fxprune.errors import CheckpointError

SNAPSHOTS = {"snapshots": ("70%", "40%"), "max_steps": 20, "schedule": ScheduleConfig(interval=2, end=0.5, rest=0.1)}
CASES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "scores over time, masks and micro-batches": (
        "bert",
        9,
        {
            "importance": "platon",
            "micro_batch": 2,
            "auto_batch": True,
            "schedule": ScheduleConfig(interval=2, end=0.8, rewrite_every=3),
        },
    ),
    "features, repaired": ("BertModel", 8, {"repair": "least-squares", "repair_batches": 2, "repair_interval": 2}),
}
SLOW_CASES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "units that return": ("bert", 8, {"schedule": ScheduleConfig(interval=2, end=0.8, revive=True)}),
    "a budget spread by scores": ("bert", 6, {"allocation": "global"}),
    "a budget of FLOPs": ("bert", 6, {"allocation": "global", "target_params": None, "target_flops": "50%"}),
    "snapshots, before the rest": ("bert", 4, SNAPSHOTS),
    "snapshots, in the rest": ("bert", 6, SNAPSHOTS),
    "snapshots, after them": ("bert", 12, SNAPSHOTS),
    "bfloat16": ("bert", 9, {"precision": "bf16"}),
    "dropout": ("bert", 9, {"dropout": True}),
    "a causal model": ("gpt2", 9, {}),
    "an encoder-decoder": ("t5", 9, {"objective": "seq2seq"}),
    "one reading": ("bert", 9, {"repeat": False}),
    "several readings": ("bert", 13, {"batch_size": 64}),
    "before the first cut": ("bert", 1, {"schedule": ScheduleConfig(interval=2, start=0.3, end=0.8)}),
}


def check(folder: Path, dataset: str, case: tuple[str, int, dict[str, Any]]) -> None:
    name, step, options = case
    mask = name != "gpt2"
    whole, parted = (Kept(folder / part, dataset, name, options, mask) for part in ("whole", "parted"))
    wanted = whole.run(every=4)
    parted.stopped(step)
    assert f"step-{step}" in parted.checkpoints  # those of snapshots stay too
    assert_same(parted.resumed(), wanted)
    assert parted.journal == whole.journal
    assert [(taken.name, taken.step) for taken in parted.snapshots] == [
        (taken.name, taken.step) for taken in whole.snapshots
    ]


@pytest.mark.parametrize("name", CASES)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(name: str, tmp_path: Path) -> None:
    check(tmp_path, write_jsonl(tmp_path), CASES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_CASES)
def test_and_so_does_every_other_kind_of_run(name: str, tmp_path: Path) -> None:
    check(tmp_path, write_jsonl(tmp_path), SLOW_CASES[name])


@pytest.mark.slow
def test_and_one_on_labelled_rows(tmp_path: Path) -> None:
    check(tmp_path, classified(tmp_path), ("BertForSequenceClassification", 9, {}))


def test_damage_is_named_and_an_earlier_checkpoint_taken(tmp_path: Path) -> None:
    run = Kept(tmp_path / "out", write_jsonl(tmp_path), options={"max_steps": 6})
    wanted = run.run(every=2, last=3)
    assert run.checkpoints == ["step-2", "step-4", "step-6"]
    root = tmp_path / "out" / "checkpoints"
    (root / "step-6" / "student.safetensors").write_bytes(b"")
    flipped = bytearray((root / "step-4" / "state.safetensors").read_bytes())
    flipped[-1] ^= 1
    (root / "step-4" / "state.safetensors").write_bytes(flipped)
    (root / "step-9").mkdir()
    assert_same(run.resumed(last=3), wanted)
    assert [text.partition(":")[0].rpartition("/")[2] for text in run.warnings] == [
        "step-9' is damaged",
        "step-6' is damaged",
        "step-4' is damaged",
    ]
    assert "its checksum differs" in run.warnings[2]
    assert run.checkpoints == ["step-2", "step-6"]
    for name in run.checkpoints:
        (root / name / "manifest.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"none of the 2 checkpoints in '.*' can be read\n.*all are damaged"):
        run.resumed()


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path)
    run = Kept(tmp_path / "out", data, options={"max_steps": 4})
    run.stopped(2)
    cases = [
        ("the settings are not those", run.name, {"max_steps": 5}, data),
        ("the model is not the one", "roberta", {}, data),
        ("the held-out data are not those", run.name, {}, write_jsonl(tmp_path / "out", 50)),
    ]
    for message, name, options, dataset in cases:
        other = Kept(run.folder, dataset, name, run.options | options)
        with pytest.raises(CheckpointError, match=message):
            other.resumed()
    assert run.checkpoints == ["step-2"]


def test_some_settings_may_change_on_the_way(tmp_path: Path) -> None:
    run = Kept(tmp_path / "out", write_jsonl(tmp_path))
    run.stopped(6)
    changed = ScheduleConfig(interval=4, end=FAST["schedule"].end)
    result = run.resumed(
        schedule=changed, repair="least-squares", repair_batches=2, repair_interval=1, learning_rate=5e-4
    )
    assert [step.step for step in result.history if step.cut] == [3, 5, 9]
    assert result.history[8].repaired is not None
    assert result.history[6].learning_rate < result.history[5].learning_rate
