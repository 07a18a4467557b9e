"""Metrics are on disk as soon as a step is over, and trackers get the same numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fxprune.distillation.config import DistillConfig
from fxprune.distillation.ranks import Ranks
from fxprune.distillation.report import StepReport
from fxprune.distillation.tracking import Recorder, _flat, check_trackers
from fxprune.errors import UsageError


def step(number: int, **more: object) -> StepReport:
    rest = {"steps": 9, "params": 10, "cut": False, "ratio": 1.0, "tokens_per_second": 9.0, "learning_rate": 0.1}
    return StepReport(step=number, losses={"total": 2.0, "kl": 1.0}, **rest, **more)  # type: ignore[arg-type]


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_step_is_on_disk_before_the_next_one(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "metrics.jsonl")
    recorder.write(step(1))
    (first,) = rows(recorder.path)
    assert first["losses"] == {"total": 2.0, "kl": 1.0}
    assert first["learning_rate"] == 0.1
    assert "discrepancy" not in first
    recorder.write(step(2, discrepancy=0.5, jump=(0.1, 0.2), flops=100))
    assert rows(recorder.path)[1].items() >= {"discrepancy": 0.5, "jump": [0.1, 0.2], "flops": 100}.items()
    recorder.close()


def test_nested_values_get_one_name_each() -> None:
    assert _flat({"a": {"b": 1, "c": (2.0, None)}, "d": "x", "e": None}) == {"a/b": 1, "a/c/0": 2.0, "d": "x"}


def test_tensorboard_gets_the_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch import device

    Ranks.join(device("cpu"))
    with Recorder(tmp_path / "metrics.jsonl", ["tensorboard"], {"seed": 3, "loss": {"kl": 1.0}}) as recorder:
        for number in (1, 2):
            recorder.write(step(number))
    events = EventAccumulator(str(next((tmp_path / "logs").rglob("events*")).parent))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("losses/kl")] == [(1, 1.0), (2, 1.0)]


def test_an_unknown_tracker_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"unknown tracker 'tensorbord'; did you mean 'tensorboard'\?"):
        DistillConfig(target_params="50%", log_with=("tensorbord",))


def test_a_tracker_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", list)
    with pytest.raises(UsageError, match=r"the tracker comet_ml is not installed\n.*pip install comet-ml"):
        check_trackers(["comet_ml"])
