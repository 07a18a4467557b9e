"""Real size: a BERT-base with random weights, distilled for a few steps to 15M parameters, every output checked.

    python benchmarks/bert_base.py

Makes a model folder from the configuration and vocabulary of bert-base-uncased (from the hub, or with --data DATA from
DATA/bert-base-uncased; the text from DATA/wikipedia_en), runs `fxprune distill` on it in a
process of its own, and prints size, files, parity and peak memory.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from texts import wikipedia


def bert_base(data: Path | None) -> tuple[Any, Any]:
    """Return the model, with random weights, and its tokenizer."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    source = "bert-base-uncased" if data is None else str(data / "bert-base-uncased")
    torch.manual_seed(0)
    return BertForMaskedLM(BertConfig.from_pretrained(source)).eval(), AutoTokenizer.from_pretrained(source)


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--steps", default=20, show_default=True)
@click.option("--target", default="15M", show_default=True)
@click.option("--batch-size", default=8, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=None)
def main(data: Path | None, steps: int, target: str, batch_size: int, output: Path | None) -> None:
    """Run the main job at BERT-base size and check what it leaves behind."""
    from transformers import AutoModelForMaskedLM

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "bert-base"
        for part in bert_base(data):
            part.save_pretrained(folder)
        out = output or Path(temporary) / "out"
        command = [sys.executable, "-m", "fxprune.cli", "distill", "--model", str(folder)]
        command += ["--dataset", wikipedia(data), "--target-params", target, "--max-steps", str(steps)]
        command += ["--batch-size", str(batch_size), "--output", str(out), "--device", "cpu", "--overwrite", "--verify"]
        began = time.monotonic()
        done = subprocess.run(command, check=False)
        seconds = time.monotonic() - began
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        if done.returncode:
            raise click.ClickException(f"fxprune distill ended with {done.returncode}")
        model = AutoModelForMaskedLM.from_pretrained(out)
        facts = {
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "files": sorted(str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()),
            "certificate": json.loads((out / "certificate.json").read_text()),
            "seconds": round(seconds, 1),
            "peak GiB": round(peak, 2),
        }
        click.echo(json.dumps(facts, indent=2))
        if output is None:
            shutil.rmtree(out)


if __name__ == "__main__":
    main()
