"""Time and memory of a plan for models too large for the machine: no weight is ever made.

    .venv/bin/python benchmarks/scale.py

Each configuration is built on the meta device in a process of its own, captured, analysed and planned to half of every
axis through the public functions; with ``--layers`` the first one also at several depths, for the growth of each step.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve()
LIMIT_CPU, LIMIT_MB = 60.0, 2048.0
DEPTHS = (10, 20, 40, 80, 160)

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama-70B": (
        "LlamaForCausalLM",
        {
            "vocab_size": 32000,
            "hidden_size": 8192,
            "intermediate_size": 28672,
            "num_hidden_layers": 80,
            "num_attention_heads": 64,
            "num_key_value_heads": 8,
            "max_position_embeddings": 4096,
        },
    ),
    "Mixtral-8x7B": (
        "MixtralForCausalLM",
        {
            "vocab_size": 32000,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "num_local_experts": 8,
        },
    ),
}


def measure(name: str, layers: int | None) -> dict[str, Any]:
    """Capture, analyse and plan one configuration in this process; return CPU seconds of each step and peak memory."""
    import transformers

    import fxprune

    kind, settings = CONFIGS[name]
    settings = settings | ({"num_hidden_layers": layers} if layers else {})
    clock = Clock()
    model_class = getattr(transformers, kind)
    with torch.device("meta"):
        model = model_class(model_class.config_class(**settings)).eval()
        ids = torch.ones(5, 13, dtype=torch.int64)
    examples = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    clock("build")
    traced = clock("capture", lambda: fxprune.capture(model, examples))
    groups = clock("analyse", lambda: fxprune.analyse(traced))
    plan = clock("plan", lambda: fxprune.make_plan(traced, ratio=0.5, importance="random"))
    return {
        "model": name,
        "layers": settings["num_hidden_layers"],
        "parameters": traced.num_parameters(),
        "nodes": len(traced.graph.nodes),
        "groups": len(groups),
        "prunable": len(groups.prunable),
        "cut": sum(entry.count < entry.size for entry in plan.groups.values()),
        "cpu": clock.laps,
        "cpu_total": round(sum(clock.laps.values()), 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


class Clock:
    """CPU seconds between calls, all threads of this process counted."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.start = process_time()

    def __call__(self, step: str, work: Callable[[], Any] = lambda: None) -> Any:
        result = work()
        now = process_time()
        self.laps[step] = round(now - self.start, 2)
        self.start = now
        return result


def in_own_process(name: str, layers: int | None = None) -> dict[str, Any]:
    """Run `measure` in a fresh process, whose peak memory is its own."""
    command = [sys.executable, "-W", "ignore", str(HERE), "--one", name, *(["--depth", str(layers)] if layers else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(rows: list[dict[str, Any]]) -> Table:
    """Return one line a configuration."""
    made = Table(title="a plan for half of every axis, on the meta device (CPU seconds; peak of the process)")
    for column in ("model", "layers", "parameters", "nodes", "capture", "analyse", "plan", "all", "peak MB"):
        made.add_column(column, justify="left" if column == "model" else "right")
    for row in rows:
        seconds = [f"{row['cpu'][step]:.2f}" for step in ("capture", "analyse", "plan")]
        counts = [str(row["layers"]), f"{row['parameters'] / 1e9:.1f}B", str(row["nodes"])]
        made.add_row(row["model"], *counts, *seconds, f"{row['cpu_total']:.1f}", str(row["peak_mb"]))
    return made


@click.command()
@click.option("--one", help="Measure this one in this process, and print JSON.")
@click.option("--depth", type=int, help="With --one: number of layers.")
@click.option("--layers", "depths", is_flag=True, help="Measure the first configuration at several depths too.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("out/bench/scale.json"), show_default=True)
def main(one: str | None, depth: int | None, depths: bool, output: Path) -> None:
    """Print time and memory of each configuration; exit 1 if one is over 60 s or 2 GB."""
    if one:
        click.echo(json.dumps(measure(one, depth)))
        return
    rows = [in_own_process(name) for name in CONFIGS]
    shown = rows + ([in_own_process("Llama-70B", layers) for layers in DEPTHS] if depths else [])
    Console(width=120).print(table(shown))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(shown, indent=2) + "\n")
    if any(row["cpu_total"] > LIMIT_CPU or row["peak_mb"] > LIMIT_MB for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
