"""BERT-base on one GPU: what distilling it to 15M parameters costs in time and memory, in bf16 and float32.

    python benchmarks/large.py --data DATA            # DATA/bert-base-uncased and DATA/wikipedia_en; default: the hub

The weights are random: every number here is about cost, none about quality. The run that rewrites is compared with
the same run under masks, which never gets smaller, and with a cut before the first step.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import click
import torch
from bert_base import bert_base
from common import Machine, markdown_table
from rich.console import Console
from texts import wikipedia

from fxprune.distillation.config import DistillConfig, ScheduleConfig
from fxprune.distillation.run import prepare

ERR = Console(stderr=True)
SCHEDULES = {
    "rewritten": ScheduleConfig(),
    "masked": ScheduleConfig(rewrite_every=0),
    "one cut": ScheduleConfig(kind="one-shot"),
}


def measure(model: Any, tokenizer: Any, dataset: str, config: DistillConfig) -> dict[str, Any]:
    """Run once; the first steps, in which the device warms up, count in neither rate."""
    run = prepare(model, tokenizer, dataset, config)
    cuda = run.distiller.ranks.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds, cuts = [], []
    stream = run.steps()
    for _ in range(config.max_steps):
        began = time.perf_counter()
        report = next(stream)
        if cuda:
            torch.cuda.synchronize()
        (cuts if report.cut else seconds).append(time.perf_counter() - began)
    tokens, few = config.batch_size * config.length, max(1, len(seconds) // 5)
    first = seconds[few // 2 : few]  # before much is gone, after the warm-up
    return {
        "params": report.params,
        "tokens/s first": tokens / statistics.median(first or seconds[:1]),
        "tokens/s last": tokens / statistics.median(seconds[-few:]),
        "seconds": sum(seconds) + sum(cuts),
        "a cut, seconds": statistics.median(cuts) if cuts else None,
        "cuts": len(cuts),
        "peak GiB": torch.cuda.max_memory_allocated() / 2**30 if cuda else None,
    }


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--target", default="15M", show_default=True)
@click.option("--steps", default=100, show_default=True)
@click.option("--batch-size", default=128, show_default=True)
@click.option("--length", default=128, show_default=True)
@click.option("--device", default="cuda", show_default=True)
@click.option("--precision", "precisions", multiple=True, default=("bf16", "float32"), show_default=True)
@click.option("--arm", "arms", multiple=True, type=click.Choice(list(SCHEDULES)), default=tuple(SCHEDULES))
@click.option("--json", "output", type=click.Path(dir_okay=False, path_type=Path))
def main(
    data: Path | None,
    target: str,
    steps: int,
    batch_size: int,
    length: int,
    device: str,
    precisions: tuple[Any, ...],
    arms: tuple[str, ...],
    output: Path | None,
) -> None:
    """Measure tokens per second and memory."""
    model, tokenizer = bert_base(data)
    rows = []
    for precision in precisions:
        for name in arms:
            config = DistillConfig(
                target_params=target,
                max_steps=steps,
                batch_size=batch_size,
                length=length,
                precision=precision,
                device=device,
                schedule=SCHEDULES[name],
                eval_every=0,
            )
            rows.append({"run": name, "precision": precision, **measure(model, tokenizer, wikipedia(data), config)})
            ERR.print(rows[-1])
    if output is not None:
        output.write_text(json.dumps({"machine": str(Machine.of_now()), "rows": rows}, indent=1) + "\n")
    where = torch.cuda.get_device_name() if device == "cuda" else Machine.of_now().cpu
    click.echo(f"BERT-base to {target}, {steps} steps of {batch_size} x {length} tokens, {where}\n")
    click.echo(markdown_table([list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]))


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
