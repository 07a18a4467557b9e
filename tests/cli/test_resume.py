"""``fxprune distill --resume`` and ``fxprune journal``: signals, locks, and what may be told anew."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from fxprune.cli import metrics
from fxprune.deploy import outputs
from fxprune.distillation import loop
from fxprune.occupied import Seat

HELD = "UsageError: another run writes to 'out': process"
STEPS = ("--max-steps", 8, "--batch-size", 4, "--length", 16, "--interval", 2, "--device", "cpu", "--no-latency")


@pytest.fixture(autouse=True)
def light(monkeypatch):
    """What is made of the student takes most of the time of a run this small, and is killed in `tests/faults`."""
    monkeypatch.setattr(outputs._Writer, "onnx_file", lambda self: ())
    monkeypatch.setattr(outputs._Writer, "hugging_face", lambda self, tokenizer: ())
    monkeypatch.setattr(outputs, "write_graph", lambda *_: ())


@pytest.fixture
def distil(run, bert, text):
    return lambda *more: run("distill", "--model", bert, "--dataset", text, "--target-params", "50%", *STEPS, *more)


@pytest.fixture
def at_step(monkeypatch):
    """Do something in the middle of a step."""

    def install(step: int, action) -> None:
        real = metrics.Metrics.write

        def write(self, report):
            real(self, report)
            if report.step == step:
                action()

        monkeypatch.setattr(metrics.Metrics, "write", write)

    return install


def steps(folder: str = "out") -> list[int]:
    return [json.loads(line)["step"] for line in Path(folder, "metrics.jsonl").read_text().splitlines()]


def checkpoints() -> list[str]:
    return sorted(path.name for path in Path("out/checkpoints").glob("step-*"))


def test_a_run_that_is_terminated_goes_on_by_itself(run, distil, at_step):
    assert distil("--output", "whole").exit_code == 0
    at_step(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    result = distil()
    assert result.exit_code == 143
    assert "StoppedError: stopped by SIGTERM after step 3\n  cause   a checkpoint is in 'out/checkpoints/step-3'" in (
        result.stderr
    )
    assert "go on with: fxprune distill --resume out\n" in result.stderr
    assert (steps(), checkpoints()) == ([1, 2, 3], ["step-3"])
    assert not Path("out/.lock").exists()
    with Seat(Path("out")) as seat:
        seat.take()
        assert f"{HELD} {os.getpid()} on " in run("distill", "--resume", "out").stderr
    resumed = run("distill", "--resume", "out", "--json")
    assert resumed.exit_code == 0, resumed.output
    assert "going on after step 3" in resumed.stderr
    assert steps() == steps("whole")
    for name in ("checkpoints/step-8/student.safetensors", "plan.json", "journal.jsonl"):
        assert Path("out", name).read_bytes() == Path("whole", name).read_bytes(), name
    listed = json.loads(Path("out/fxprune.json").read_text())
    assert "unfinished" not in listed
    assert "journal.jsonl" in listed["files"]
    told = json.loads(run("journal", "out", "--json").stdout)
    assert [cut["step"] for cut in told] == [step for step in (1, 3, 4, 5, 7) if step in {cut["step"] for cut in told}]
    assert all(cut["units"] > 0 and len(cut["params"]) == 2 for cut in told)
    assert run("journal", "out").stdout.count(" *") == (len(told) > 1)
    back = run("journal", "out", "--undo-to", told[-1]["step"])
    assert "go on with: fxprune distill --resume out" in back.stdout
    assert len(json.loads(run("journal", "out", "--json").stdout)) < len(told)
    again = run("distill", "--resume", "out", "--interval", 1, "--learning-rate", 1e-4)
    assert again.exit_code == 0, again.output
    assert json.loads(Path("out/checkpoints/run.json").read_text())["config"]["schedule"]["interval"] == 1


def test_a_second_interrupt_stops_at_once_and_loses_nothing_older(run, distil, at_step):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    at_step(5, twice)
    result = distil("--checkpoint-every", 2)
    assert result.exit_code == 130
    assert "go on with: fxprune distill --resume out" in result.stderr
    assert "interrupted; nothing more is written" in result.stderr
    assert checkpoints() == ["step-2", "step-4"]


@pytest.mark.slow
def test_one_interrupt_is_130(distil, at_step):
    at_step(2, lambda: os.kill(os.getpid(), signal.SIGINT))
    result = distil()
    assert result.exit_code == 130
    assert "stopped by SIGINT after step 2" in result.stderr
    assert checkpoints() == ["step-2"]


def test_a_second_run_in_one_folder_is_refused(run, distil, bert):
    with Seat(Path("out")) as seat:
        seat.take()
        for result in (
            distil("--overwrite"),
            run("prune", bert, "--ratio", 0.5),
            run("journal", "out", "--undo-to", 1),
        ):
            assert result.exit_code == 2
            assert f"{HELD} {os.getpid()} on " in result.stderr
    assert list(Path("out").iterdir()) == []


def test_what_cannot_be_resumed_is_told(run, distil, at_step):
    result = run("distill", "--resume", "nowhere")
    assert result.exit_code == 2
    assert "CheckpointError: there is no run in 'nowhere' to go on with" in result.stderr
    assert not Path("nowhere").exists()
    assert run("journal", "nowhere").exit_code == 2
    at_step(2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    distil()
    for option in ("--max-steps", "--batch-size", "--seed"):
        result = run("distill", "--resume", "out", option, 3)
        assert result.exit_code == 2
        assert f"{option} cannot be given with --resume" in result.stderr
        assert "--learning-rate" in result.stderr
    assert run("distill", "demo", "--resume", "out").exit_code == 2
    Path("out/checkpoints/run.json").write_text("{")
    assert "'out/checkpoints/run.json' is damaged" in run("distill", "--resume", "out").stderr


@pytest.mark.slow
def test_a_loss_that_is_no_number_can_be_resumed_with_a_lower_rate(run, distil, monkeypatch):
    real = loop.Distiller.step

    def step(self, batch):
        if self.done == 5 and self.config.learning_rate > 1e-4:
            next(iter(self.student.traced.parameters())).data.fill_(float("nan"))
        return real(self, batch)

    monkeypatch.setattr(loop.Distiller, "step", step)
    result = distil("--checkpoint-every", 2)
    assert result.exit_code == 1
    assert "loss is nan at step 6" in result.stderr
    assert "the last checkpoint is that of step 4: fxprune distill --resume out" in result.stderr
    assert run("distill", "--resume", "out", "--learning-rate", 1e-5).exit_code == 0
    assert steps() == [*range(1, 9)]
