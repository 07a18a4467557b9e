"""``fxprune report``, and the page and card each run leaves: true for the model beside them."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
import transformers
from click.testing import CliRunner

from fxprune.cli import main
from fxprune.distillation import loop
from fxprune.report.loading import loading_code
from fxprune.report.reading import read_results

STEPS = ("--max-steps", 8, "--batch-size", 4, "--length", 16, "--interval", 1, "--device", "cpu", "--seed", 3)


@pytest.fixture(scope="module")
def distilled(models, sentences_file, tmp_path_factory):
    """The folder of a whole run, and the words of its call."""
    here = tmp_path_factory.mktemp("distilled")
    options = ("--dataset", sentences_file, "--output", here / "out", "--grid", "1x8", "--verify", *STEPS)
    words = ["distill", "--model", models / "bert", "--target-params", "60%", *options]
    result = CliRunner().invoke(main, list(map(str, words)))
    assert result.exit_code == 0, result.output
    return here / "out", list(map(str, words))


def test_a_run_says_what_it_takes_to_make_it_again(distilled):
    folder, words = distilled
    facts = json.loads((folder / "fxprune.json").read_text())
    assert facts["run"]["command_line"] == ["fxprune", *words]
    assert facts["run"]["packages"]["transformers"] == transformers.__version__
    assert facts["run"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["teacher"]["hub_name"] is None
    page = (folder / "report.html").read_text()
    for told in (
        f"transformers=={transformers.__version__}",
        "fxprune distill --model",
        "--seed 3",
        "All three proofs",
    ):
        assert told in page
    assert {"README.md", "report.html"} <= set(facts["files"])


@pytest.mark.parametrize("caption", ["With transformers", "With PyTorch alone", "With ONNX Runtime"])
def test_the_code_of_the_report_runs_as_it_stands(distilled, caption, monkeypatch, capsys):
    folder, _ = distilled
    (code,) = (block.text for block in loading_code(read_results(folder)) if block.caption == caption)
    assert code in (folder / "README.md").read_text()
    monkeypatch.chdir(folder)
    exec(code, {"__name__": "__main__"})
    words = "66"  # of the vocabulary: the last size of the logits
    assert words in capsys.readouterr().out


def test_report_makes_both_anew_from_the_files_alone(distilled, run):
    folder, _ = distilled
    before = {name: (folder / name).read_bytes() for name in ("report.html", "README.md", "fxprune.json")}
    for name in ("report.html", "README.md"):
        (folder / name).unlink()
    result = run("report", folder)
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [str(folder / "report.html"), str(folder / "README.md")]
    assert {name: (folder / name).read_bytes() for name in before} == before
    told = json.loads(run("report", folder, "--json").stdout)
    assert told == {"files": [str(folder / "report.html"), str(folder / "README.md")], "left": []}


def test_a_card_of_ones_own_stays(distilled, run, here):
    folder, _ = distilled
    facts = json.loads((folder / "fxprune.json").read_text())
    (here / "fxprune.json").write_text(json.dumps({**facts, "files": ["plan.json"]}))
    (here / "README.md").write_text("mine")
    result = run("report", here)
    assert result.exit_code == 0
    assert "README.md is not of a run, and stays as it is" in result.stderr.replace("\n", " ")
    assert (here / "README.md").read_text() == "mine"


def test_what_is_no_output_folder_is_refused_in_a_sentence(run, here):
    (here / "damaged").mkdir()
    (here / "damaged" / "fxprune.json").write_text('{"format": "fxprune out')
    (here / "file").write_text("")
    for name, words in (
        ("nowhere", "'nowhere' is no output folder of fxprune"),
        (".", "'.' is no output folder of fxprune"),
        ("damaged", "'damaged/fxprune.json' is damaged"),
        ("file", "is a file"),
    ):
        result = run("report", name)
        assert result.exit_code == 2
        assert words in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_an_unfinished_run_has_a_report_of_its_student(run, bert, text, monkeypatch):
    real = loop.check_finite
    monkeypatch.setattr(
        loop,
        "check_finite",
        lambda losses, step: real({**losses, "hidden": math.nan, "total": math.nan} if step == 3 else losses, step),
    )
    options = ("--dataset", text, "--target-params", "60%", "--no-latency", *STEPS)
    result = run("distill", bert, *options)
    assert result.exit_code == 1
    said = "The run did not end: the hidden loss is nan at step 3. The student is as it was after step 2."
    assert said in Path("out/report.html").read_text()
    assert "did not end" in Path("out/README.md").read_text()
    assert Path("out/student.pt2").is_file()
