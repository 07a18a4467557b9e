"""Sizes are told before weights are loaded, and they come true."""

from __future__ import annotations

import json

import pytest

from fxprune.cli import distilling, foresight, jobs
from fxprune.errors import DistillError
from fxprune.forecast import Forecast


@pytest.fixture
def told(monkeypatch) -> list[dict]:
    """The facts of a job, which ends before it writes them."""
    found: list[dict] = []

    def stop(*_, facts, **__):
        found.append(facts)
        raise DistillError("enough")

    for module in (jobs, distilling):
        monkeypatch.setattr(module, "write_outputs", stop)
    return found


OPTIONS = ("--target-flops", "50%", "--length", 32, "--round-to", 2)


def test_a_dry_run_tells_what_the_cut_will_leave(run, bert, told):
    planned = json.loads(run("prune", bert, *OPTIONS, "--dry-run", "--json").stdout)
    said = run("prune", bert, *OPTIONS, "--no-latency").stderr
    (facts,) = told
    assert facts["params"] == {"teacher": planned["dense_params"], "student": planned["params"]}
    flops = {"teacher": planned["dense_flops"], "student": planned["flops"]}
    assert facts["flops"] == {**flops, "batch": 1, "length": 32}
    assert 0.95 * flops["teacher"] < 2 * flops["student"] <= flops["teacher"]
    assert planned["widths"]["hidden"]["kept"] % 2 == 0
    assert said.index(f"{planned['dense_params']:,} -> {planned['params']:,} parameters") < said.index("loading")
    assert "FLOPs at 1 x 32" in said
    assert "widths: hidden 32 -> " in said


def test_widths_of_equal_layers_are_told_once(capsys):
    widths = {"hidden": (8, 4), "layer.0.inner": (9, 5), "layer.1.inner": (9, 5), "layer.2.inner": (9, 6)}
    foresight.say(Forecast(dense_params=9, dense_flops=None, params=5, flops=None, length=4, widths=widths, final={}))
    assert "widths: hidden 8 -> 4, layer.*.inner 9 -> 5 in 2 layers, layer.*.inner 9 -> 6\n" in capsys.readouterr().err


def test_a_dry_run_needs_no_weights_and_writes_nothing(run, own_bert, here):
    (own_bert / "model.safetensors").unlink()
    result = run("prune", own_bert, "--target-params", "50%", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "parameters, " in result.stdout
    assert "hidden" in result.stdout
    assert not (here / "out").exists()


@pytest.mark.parametrize(("command", "target"), [("prune", "--target-flops"), ("distill", "--target-params")])
def test_a_target_out_of_reach_is_told_before_anything_is_loaded(run, bert, text, monkeypatch, command, target):
    monkeypatch.setattr(distilling, "load_model", None)
    monkeypatch.setattr(jobs, "open_model", None)
    more = ("--dataset", text) if command == "distill" else ()
    result = run(command, "--model", bert, target, "100", *more)
    assert result.exit_code == 2
    assert "out of reach" in result.stderr
    assert "the smallest reachable size is" in result.stderr
    assert "loading" not in result.stderr


def test_a_model_that_cannot_be_made_without_weights_is_loaded_without_a_word(run, bert, told, monkeypatch):
    def explode(*_, **__):
        raise RuntimeError("this model reads its weights")

    monkeypatch.setattr(foresight, "load_shell", explode)
    result = run("prune", bert, "--target-params", "50%", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    assert "reads its weights" not in result.output
    planned = json.loads(result.stdout)
    assert 0.95 * planned["dense_params"] < 2 * planned["params"] <= planned["dense_params"]
    said = run("prune", bert, "--target-params", "50%", "--no-latency").stderr
    assert said.startswith("loading")
    assert told[0]["params"]["student"] == planned["params"]


def test_distillation_foresees_its_student(run, bert, text, told):
    short = ("--max-steps", 3, "--batch-size", 2, "--length", 8, "--interval", 1, "--no-latency")
    said = run("distill", "--model", bert, "--dataset", text, "--target-flops", "50%", *short).stderr
    (facts,) = told
    assert said.startswith(f"{facts['params']['teacher']:,} -> {facts['params']['student']:,} parameters, ")
    assert facts["flops"]["length"] == 8
    assert facts["flops"]["student"] <= facts["flops"]["teacher"] / 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--target-params", "50%", "--round-to", 4096), "no group can be rounded to a multiple of 4096"),
        (("--target-params", "50%", "--min-keep", 0.5), "min_keep is the floor of a global allocation"),
        (("--ratio", 0.5, "--allocation", "global"), "a ratio is the same in every matrix"),
        (("--target-params", "50%", "--target-flops", "1G"), "give one of --target-params, --target-flops"),
        (("--target-flops", "1T"), "FLOPs is larger than the model"),
    ],
)
def test_a_goal_that_cannot_be_meant_is_one_clear_error(run, bert, options, said):
    result = run("prune", bert, *options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
