"""``fxprune evaluate``: result on stdout, progress on stderr, and one sentence for each mistake."""

from __future__ import annotations

import json

import pytest
from evaluating import write_model, write_split, write_task

from fxprune.evaluation.tasks import TASKS

SHORT = ("--seeds", 2, "--max-steps", 3, "--batch-size", 8)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("evaluated"))


@pytest.fixture
def task(here):
    return write_task(here / "sst2", "sst2", train=40, held_out=20)


def test_the_table_has_median_spread_and_every_seed(run, model, task):
    result = run("evaluate", model, "--task", "sst2", "--data", task, *SHORT)
    assert result.exit_code == 0, result.output
    for word in (
        "accuracy",
        "median",
        "lowest",
        "highest",
        "seed 0",
        "seed 1",
        "40 train, 20 validation rows",
        "classifier.weight",
    ):
        assert word in result.stdout
    assert "step 3/3" in result.stderr
    assert "seed 1  step 1/3  loss" in result.stderr
    assert "step" not in result.stdout


def test_json_goes_to_stdout_and_to_the_file_if_one_is_named(run, model, task, here):
    arguments = ("evaluate", "--model", model, "--task", "sst2", "--data", ".", *SHORT, "--json", "--output", "s.json")
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told == json.loads((here / "s.json").read_text())
    assert told["median"].keys() == told["spread"].keys() == {"accuracy"}
    assert [run["seed"] for run in told["runs"]] == [0, 1]
    assert told["headline"]["median"] == told["median"]["accuracy"]
    assert told["settings"]["max_steps"] == told["settings"]["steps"] == 3
    assert told["rows"] == {"train": 40, "validation": 20}
    again = run(*arguments)
    assert again.exit_code == 2
    assert "'s.json' exists" in again.stderr
    assert run(*arguments, "--overwrite").exit_code == 0


def test_similarity_is_one_row(run, model, here):
    rows = [{"sentence1": f"w{i}", "sentence2": f"w{i * i % 7}", "label": float(i)} for i in range(9)]
    write_split(here / "stsb", "validation", rows)
    result = run("evaluate", model, "--task", "text-similarity", "--data", here, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["median"].keys() == {"spearman"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--task", "sst-2"), "'sst-2' is not one of"),
        ((), "Missing option '--task'"),
        (("--task", "sst2", "--data", "nowhere"), "there is no folder 'nowhere'"),
        (
            ("--task", "mnli", "--data", "sst2"),
            "has no split 'validation_matched' and no split 'validation_mismatched'",
        ),
        (("--task", "qnli", "--data", "sst2"), "has no column 'question', which task 'qnli' needs"),
        (("--task", "sst2"), "is on the hub (nyu-mll/glue), and there is no network"),
        (("--task", "sst2", "--data", ".", "--epochs", -1), "epochs is -1"),
        (("--task", "sst2", "--data", ".", "--epochs", 1, "--max-steps", 3), "both epochs and max_steps are given"),
        (("--task", "sst2", "--data", ".", "--epochs", 0), "has no head for task 'sst2'"),
        (("--task", "sst2", "--data", ".", "--length", 99), "takes 64 tokens"),
        (("--task", "squad", "--data", ".", "--length", 20), "length is 20, too short for question and context"),
        (("--task", "sst2", "--data", ".", "--learning-rate", 0), "learning_rate is 0.0"),
        (("--task", "sst2", "--data", ".", "--device", "tpu"), "unknown device 'tpu'"),
        (("--task", "sst2", "--data", ".", "--output", "sst2/train.parquet"), "'sst2/train.parquet' exists"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(run, model, task, here, arguments, said):
    before = sorted(here.rglob("*"))
    result = run("evaluate", model, *arguments)
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.stderr.split())
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert sorted(here.rglob("*")) == before


def test_a_graph_alone_and_a_missing_model_are_told_apart(run, task, here):
    (here / "student.pt2").write_bytes(b"")
    assert "is a graph (.pt2)" in run("evaluate", ".", "--task", "sst2", "--data", ".").stderr
    assert "there is no model folder './none'" in run("evaluate", "./none", "--task", "sst2", "--data", ".").stderr


def test_a_loss_that_is_no_number_is_a_failure(run, model, task, monkeypatch):
    from fxprune.evaluation.sentences import SentenceTask

    monkeypatch.setattr(SentenceTask, "loss", lambda self, output, targets: output.logits.sum() * float("nan"))
    result = run("evaluate", model, "--task", "sst2", "--data", ".", *SHORT)
    assert result.exit_code == 1
    assert "the loss is nan at step 1" in result.stderr


def test_every_task_of_the_issue_is_offered(run):
    page = run("evaluate", "--help").stdout
    assert all(name in page for name in TASKS)
