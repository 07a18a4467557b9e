"""``--target-latency`` and ``--optimise-for latency``, with stand-ins for files, as slow as they are large."""

from __future__ import annotations

import json

import pytest
from timing import time_by_size

from fxprune import latency
from fxprune.cli import distilling
from fxprune.errors import DistillError

TIMED = ("--at", "2x16", "--no-latency")


@pytest.fixture(autouse=True)
def by_size(monkeypatch, tmp_path_factory):
    """Nothing is exported or timed, and the tables of one test are not those of another."""
    time_by_size(monkeypatch, tmp_path_factory.mktemp("cache"))


def test_a_latency_target_is_met_and_reported(run, bert, here):
    result = run("prune", bert, "--target-latency", "4ms", *TIMED, "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    target = facts["latency_target"]
    assert target["at"] == {"batch": 2, "length": 16, "threads": 1, "precision": "float32"}
    assert 0.9 * 4.0 <= target["measured_ms"] <= 4.0 < target["dense_ms"]
    assert target["met"] is True
    assert target["student_ms"] is None  # --no-latency
    assert facts["params"]["student"] < facts["params"]["teacher"]
    assert {cut["groups"] for cut in facts["cuts"]} >= {"hidden"}
    assert json.loads((here / "out" / "fxprune.json").read_text())["latency_target"] == target
    assert "what each cut bought at 2x16" in result.stderr
    assert "latency at 2x16: " in result.stderr


def test_the_fastest_of_a_size_is_found_and_a_second_call_times_nothing(run, bert, monkeypatch):
    options = (
        "prune",
        bert,
        "--target-params",
        "50%",
        "--optimise-for",
        "latency",
        "--dry-run",
        "--json",
        "--at",
        "2x16",
    )
    first = json.loads(run(*options).stdout)
    assert 0.98 * first["dense_params"] < 2 * first["params"] <= first["dense_params"]
    monkeypatch.setattr(latency, "runtime_clock", lambda examples, workload: None)
    assert json.loads(run(*options).stdout) == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target-latency", "4 parsecs"), "'4 parsecs' is no time a model could take"),
        (("--target-latency", "4ms", "--at", "many"), "'many' is no shape to time at"),
        (("--target-latency", "4ms", "--at", "1x500"), "the model has no 500 positions"),
        (("--target-latency", "4ms", "--target-params", "50%"), "--target-params, --target-latency"),
        (("--target-latency", "4ms", "--allocation", "global"), "the same in equal layers"),
        (("--target-params", "50%", "--at", "1x16"), "nothing is timed at 1x16"),
        (("--ratio", "0.5", "--optimise-for", "latency"), "a ratio leaves no widths to choose from"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_timed(run, bert, monkeypatch, options, message):
    monkeypatch.setattr(latency, "runtime_clock", lambda examples, workload: None)
    result = run("prune", bert, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_where_the_int8_file_counts_it_is_written(run, bert, here):
    at = ("--at", "2x16,int8", "--grid", "1x16")
    result = run("prune", bert, "--target-latency", "4ms", *at, "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    target = facts["latency_target"]
    assert target["at"]["precision"] == "int8"
    timed = {(row["model"], row["batch"]): row["p50_ms"] for row in facts["latency"]}
    assert target["student_ms"] == pytest.approx(timed["student int8", 2], rel=0.01)
    assert (here / "out" / "onnx" / "model.int8.onnx").is_file()
    assert "latency at 2x16, int8: " in result.stderr


@pytest.mark.parametrize(
    ("target", "message"),
    [("0.01ms", "no widths of this model take 0.01 ms"), ("9s", "there is nothing to do for 9000 ms")],
)
def test_a_target_out_of_reach_says_what_is_in_reach(run, bert, target, message):
    result = run("prune", bert, "--target-latency", target, *TIMED)
    assert result.exit_code == 2
    assert message in result.stderr
    assert " ms" in result.stderr.split("cause")[1]


def test_a_run_goes_to_widths_that_were_timed_before_its_first_step(run, bert, text, monkeypatch):
    found = []

    def stop(slim, *_, facts, **__):
        found.append((slim, facts))
        raise DistillError("enough")

    monkeypatch.setattr(distilling, "write_outputs", stop)
    options = ("--max-steps", 8, "--batch-size", 4, "--length", 16, "--interval", 1, "--dataset", text)
    result = run("distill", bert, "--target-latency", "4ms", *TIMED, *options)
    ((slim, facts),) = found
    plan = slim.latency_plan
    sizes = slim.plan.sizes()
    assert {name: sizes[name] for name in plan.counts if name in sizes} == {
        n: c for n, c in plan.counts.items() if n in sizes
    }
    assert facts["latency_target"]["met"] is True
    assert facts["latency_target"]["measured_ms"] <= 4.0
    assert result.stderr.index("latency at 2x16: ") < result.stderr.index("enough")
