"""What a run of ``fxprune distill`` writes while it goes, also if it stops on the way."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from fxprune.distillation import loop

STEPS = ("--max-steps", 6, "--batch-size", 4, "--length", 16, "--end", 0.7, "--device", "cpu", "--no-latency")


def rows() -> list[dict]:
    return [json.loads(line) for line in Path("out/metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def distil(run, bert, text):
    return lambda *more: run("distill", "--model", bert, "--dataset", text, "--target-params", "50%", *STEPS, *more)


def test_every_step_has_its_numbers(distil):
    result = distil("--eval-every", 2, "--log-with", "tensorboard")
    assert result.exit_code == 0, result.output
    steps = rows()
    assert [step["step"] for step in steps] == [1, 2, 3, 4, 5, 6]
    assert ["discrepancy" in step for step in steps] == [True, True, False, True, False, True]
    assert [("jump" in step) == step["cut"] for step in steps] == [True] * 6
    assert any(step["cut"] for step in steps)
    assert steps[-1]["flops"] < steps[0]["flops"]
    assert all(step["learning_rate"] > 0 and step["tokens_per_second"] > 0 for step in steps)
    assert list(Path("out/logs").rglob("events*"))
    assert "unfinished" not in json.loads(Path("out/fxprune.json").read_text())


def test_a_run_that_is_killed_leaves_its_metrics(distil, monkeypatch):
    real = loop.Distiller.step

    def step(self, batch):
        if self.done == 3:
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(loop.Distiller, "step", step)
    assert distil("--eval-every", 0).exit_code == 130
    assert [step["step"] for step in rows()] == [1, 2, 3]
    assert not any("discrepancy" in step or "jump" in step for step in rows())
    listed = json.loads(Path("out/fxprune.json").read_text())
    assert listed["unfinished"]["reason"] == "the run goes on, or was killed"
    monkeypatch.undo()


def test_a_loss_that_is_no_number_leaves_the_student_before_it(distil, monkeypatch):
    import transformers

    real = loop.check_finite

    def check(losses, step):
        real({**losses, "hidden": math.nan, "total": math.nan} if step == 5 else losses, step)

    monkeypatch.setattr(loop, "check_finite", check)
    result = distil()
    assert result.exit_code == 1
    assert "DistillError: the hidden loss is nan at step 5\n" in result.stderr.replace(
        "UnfinishedError", "DistillError"
    )
    assert "the student as it was after step 4 is in out" in result.stderr
    assert "Traceback" not in result.stderr
    listed = json.loads(Path("out/fxprune.json").read_text())
    reason = "the hidden loss is nan at step 5"
    assert listed["unfinished"] == {"reason": reason, "step": 5, "weights_of_step": 4}
    assert {"metrics.jsonl", "plan.json", "model.safetensors"} <= set(listed["files"])
    assert len(rows()) == 4
    assert transformers.AutoModelForMaskedLM.from_pretrained("out").num_parameters() > 0


def test_a_tracker_nobody_knows_is_a_mistake(distil):
    result = distil("--log-with", "tensorbord")
    assert result.exit_code == 2
    assert "did you mean 'tensorboard'?" in result.stderr
    assert not Path("out").exists()
