"""The list of commands and options is a golden file: a change of it is a change for users."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fxprune.cli import COMMANDS

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
