"""The list of commands and options is a golden file: a change of it is a change for users."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fxprune.cli import COMMANDS, main

GOLDEN = Path(__file__).parent / "help.txt"


def test_the_help_is_the_golden_file(run):
    pages = [run(*command, "--help").stdout for command in ([], *([name] for name in COMMANDS))]
    text = "\n".join(pages)
    if os.environ.get("FXPRUNE_GOLDEN") == "write":  # after a wanted change
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_every_command_speaks_json(run):
    for name in COMMANDS:
        assert "--json" in run(name, "--help").stdout, name


def test_the_help_does_not_wait_for_torch():
    code = (
        "import sys; from click.testing import CliRunner; from fxprune.cli import main\n"
        "for command in ([], ['distill'], ['bench']): CliRunner().invoke(main, [*command, '--help'])\n"
        "print([name for name in ('torch', 'transformers', 'onnxruntime', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_module_runs_like_the_script():
    done = subprocess.run(
        [sys.executable, "-m", "fxprune.cli", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("fxprune, version ")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("kll=3", "unknown loss term 'kll'; did you mean 'kl'?"),
        ("kl=x", "write it as kl=0.5"),
        ("kl", "write it as kl=0.5"),
        ("kl=-1", "the weight of the kl loss is -1.0"),
    ],
)
def test_a_loss_weight_that_cannot_be_meant_is_refused(run, given, said):
    result = run("distill", "--model", "demo", "--target-params", "25%", "--loss-weight", given)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_recipe_gives_the_defaults_and_options_go_before_it(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("fxprune.cli.distilling.distill_job", lambda job: seen.append(job.order.config))
    runner = CliRunner()
    for more in ([], ["--target-params", "3M"], ["--max-steps", "5", "--loss-weight", "kl=0.5"]):
        result = runner.invoke(main, ["distill", "--model", "demo", "--recipe", "homobert-tiny", *more])
        assert result.exit_code == 0, result.output
    assert [config.target_params for config in seen] == [None, "3M", None]
    assert [config.target_ratio for config in seen] == pytest.approx([224 / 768, None, 224 / 768])
    assert [config.max_steps for config in seen] == [28_000, 28_000, 5]
    assert [config.loss.kl for config in seen] == [1.0, 1.0, 0.5]
    assert {config.batch_size for config in seen} == {4096}
    assert {config.smoothing for config in seen} == {0.85}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--recipe", "homobert-tny"], "did you mean 'homobert-tiny'"),
        (
            ["--target-params", "3M", "--target-ratio", "0.5"],
            "give one of --target-params, --target-flops, --target-ratio",
        ),
        ([], "give one of --target-params, --target-flops, --target-ratio"),
        (["--target-ratio", "2"], "not in (0, 1]"),
    ],
)
def test_a_target_that_cannot_be_meant_is_refused(run, options, said):
    result = run("distill", "--model", "demo", *options)
    assert result.exit_code == 2
    assert said in result.stderr
