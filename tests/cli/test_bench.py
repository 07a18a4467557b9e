"""``fxprune bench`` and the other precisions of ``fxprune export``, as their users call them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from evaluating import write_model, write_split

from fxprune.cli import main
from fxprune.deploy import onnx

QUICK = ("--grid", "1x8", "--rounds", 1, "--seconds", 0, "--warmup", 1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An encoder with its tokenizer, and its float32, int8 and float16 files."""
    folder = Path(write_model(tmp_path_factory.mktemp("encoder")))
    told = {}
    for name, options in {"plain": (), "dynamic": ("--int8",), "half": ("--fp16",)}.items():
        file = folder / f"{name}.onnx"
        told[name] = CliRunner().invoke(main, ["export", str(folder), "--output", str(file), *options, "--json"])
        assert told[name].exit_code == 0, told[name].output
    return folder, {name: json.loads(result.stdout) for name, result in told.items()}


def test_exports_say_how_near_they_are(exported):
    _, told = exported
    assert told["plain"]["max_error"] < 1e-4
    assert 0 < told["dynamic"]["max_error"] < 0.1
    assert told["dynamic"]["cosine"] > 0.995
    assert told["dynamic"]["bytes"] < told["dynamic"]["bytes_float32"]
    assert told["dynamic"]["left_in_float32"] == 0
    assert 0 < told["half"]["max_error"] <= told["half"]["tolerance"] == 1e-2


def test_three_contenders_stand_side_by_side(run, exported, monkeypatch):
    folder, _ = exported
    monkeypatch.chdir(folder)
    result = run("bench", "plain.onnx", "dynamic.onnx", str(folder), *QUICK, "--markdown")
    assert result.exit_code == 0, result.output
    assert "| dynamic.onnx | 1 x 8 | 1 |" in result.stdout
    assert "error 0.0e+00" in result.stdout or "cosine 1.0000" in result.stdout
    shown = run("bench", "plain.onnx", "dynamic.onnx", *QUICK)
    assert "outputs against the first" in shown.stdout.replace("\n", " ")


def test_a_check_fails_where_outputs_differ(run, exported, monkeypatch):
    folder, _ = exported
    monkeypatch.chdir(folder)
    result = run("bench", "plain.onnx", "dynamic.onnx", *QUICK, "--check", "--tolerance", 1e-6)
    assert result.exit_code == 1
    assert "outputs of dynamic.onnx are not those of plain.onnx within 1e-06" in result.stderr
    assert run("bench", "plain.onnx", "dynamic.onnx", *QUICK, "--check", "--tolerance", 0.5).exit_code == 0


def test_a_missing_provider_is_named_before_anything_is_loaded(run, exported):
    folder, _ = exported
    for command in (("bench", folder / "plain.onnx"), ("export", folder)):
        result = run(*command, "--provider", "abacus")
        assert result.exit_code == 2
        assert "this ONNX Runtime has no provider 'abacus'" in result.stderr
        assert "exporting" not in result.stderr


@pytest.mark.slow  # what it calls is tested in tests/deploy/test_int8.py
def test_static_int8_is_calibrated_on_text(run, exported, text):
    folder, _ = exported
    result = run(
        "export", folder, "--int8", "static", "--dataset", text, "--calibration-batches", 2, "--output", "s.onnx"
    )
    assert result.exit_code == 0, result.output
    assert "int8 static, ranges by" in result.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--int8", "--fp16"), "--int8 and --fp16 are two files"),
        (("--dataset", "demo"), "--dataset is the text of static int8"),
        (("--int8", "static"), "static int8 needs text to calibrate on"),
    ],
)
def test_precisions_that_cannot_be_meant_are_refused(run, exported, options, said):
    result = run("export", exported[0], *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_an_onnx_file_is_scored_with_the_tokenizer_beside_it(run, exported, here):
    folder, _ = exported
    rows = [{"sentence1": f"w{i}", "sentence2": f"w{i * i % 7} w3", "label": float(i)} for i in range(9)]
    write_split(here / "stsb", "validation", rows)
    scores = {}
    for model in (folder, folder / "plain.onnx", folder / "dynamic.onnx"):
        result = run("evaluate", model, "--task", "text-similarity", "--data", here, "--json")
        assert result.exit_code == 0, result.output
        scores[model.name] = json.loads(result.stdout)["median"]["spearman"]
    assert scores["plain.onnx"] == pytest.approx(scores[folder.name], abs=1e-6)
    assert scores["dynamic.onnx"] == pytest.approx(scores[folder.name], abs=0.2)
    refused = run("evaluate", folder / "plain.onnx", "--task", "sst2", "--data", here)
    assert refused.exit_code == 2
    assert "fine-tunes, and" in refused.stderr


@pytest.mark.slow
def test_prune_writes_and_times_an_int8_file_too(run, bert):
    result = run("prune", bert, "--ratio", 0.5, "--output", "out", "--int8", "--grid", "1x8", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [row["model"] for row in told["latency"]] == ["teacher", "student", "student int8"]
    facts = json.loads(Path("out/fxprune.json").read_text())
    assert facts["int8"]["mode"] == "dynamic"
    assert facts["int8"]["left_in_float32"] == 0
    assert "onnx/model.int8.onnx" in facts["files"]


@pytest.mark.slow
def test_where_no_rung_agrees_all_else_is_written_and_each_reason_told(run, bert, monkeypatch):
    monkeypatch.setattr(onnx, "worst_error", lambda got, want: 1.0)
    result = run("prune", bert, "--ratio", 0.5, "--output", "out", "--no-latency")
    assert result.exit_code == 1
    for rung in onnx.LADDER:
        assert f"\n          {rung.name}: " in result.stderr
    assert f"{onnx.LADDER[0].name}: outputs are 1.0e+00 away from PyTorch" in result.stderr
    assert {"config.json", "model.safetensors", "plan.json", "student.pt2"} <= {p.name for p in Path("out").iterdir()}
    assert not Path("out/onnx/model.onnx").exists()
