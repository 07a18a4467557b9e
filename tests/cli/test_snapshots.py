"""A run with snapshots leaves a complete folder for each size; the last one named is the target."""

from __future__ import annotations

import json

from transformers import AutoModelForMaskedLM

SHORT = ["--max-steps", "30", "--batch-size", "4", "--length", "16", "--device", "cpu", "--no-latency"]


def test_a_family_is_written(run, bert, text, here):
    result = run("distill", bert, "--dataset", text, "--snapshots", "70%,40%", *SHORT)
    assert result.exit_code == 0, result.stderr
    assert "snapshot 70pct at step" in result.stderr
    assert "out/70pct" in result.stdout
    sizes = {name: AutoModelForMaskedLM.from_pretrained(here / name).num_parameters() for name in FOLDERS}
    assert sizes["out"] == sizes["out/40pct"] < sizes["out/70pct"]
    for name in FOLDERS:
        written = json.loads((here / name / "fxprune.json").read_text())
        assert {"plan.json", "student.pt2", "onnx/model.onnx", "model.safetensors"} <= set(written["files"])
        assert all((here / name / file).is_file() for file in written["files"])
    assert json.loads((here / "out" / "fxprune.json").read_text())["snapshots"] == ["out/70pct", "out/40pct"]


FOLDERS = ("out", "out/70pct", "out/40pct")


def test_a_size_that_cannot_be_read_is_refused(run):
    result = run("distill", "demo", "--snapshots", "70%,small")
    assert result.exit_code == 2
    assert "cannot read the target 'small'" in result.stderr
