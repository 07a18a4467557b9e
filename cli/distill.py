"""``fxprune distill``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled


@click.command("distill", short_help="Narrow a model while it learns from its dense self.")
@opt.options(opt.model, opt.dataset, opt.target, opt.output, opt.overwrite)
@click.option("--max-steps", type=opt.AT_LEAST_1, default=300, show_default=True, help="Optimizer steps.")
@click.option("--batch-size", type=opt.AT_LEAST_1, default=16, show_default=True, help="Sequences a step.")
@click.option("--length", type=opt.AT_LEAST_1, default=64, show_default=True, help="Tokens a sequence.")
@click.option("--learning-rate", default=1e-3, show_default=True, help="Peak of the schedule.")
@click.option("--schedule", type=click.Choice(["cubic", "one-shot"]), default="cubic", show_default=True)
@click.option("--interval", type=opt.AT_LEAST_1, default=5, show_default=True, help="Steps between cuts.")
@click.option("--importance", default="sensitivity", show_default=True, help="Score of the units.")
@click.option("--text-column", help="Column to read, where the data set has several.")
@opt.options(opt.device, opt.seed, opt.verify, opt.latency, opt.grid, opt.threads, opt.as_json)
@handled
def command(
    model: str,
    dataset: str | None,
    output: Path,
    overwrite: bool,
    schedule: Any,
    interval: int,
    text_column: str | None,
    latency: bool,
    grid: tuple[tuple[int, int], ...],
    threads: tuple[int, ...],
    as_json: bool,
    **settings: Any,
) -> None:
    """Narrow MODEL step by step while it learns from its dense self.

    fxprune distill --model bert-base-uncased --target-params 15M
    """
    opt.check_one_of({"--target-params": settings["target_params"]})
    from fxprune.cli.jobs import DistillConfig, LatencySettings, Target, distill_job
    from fxprune.distillation.config import ScheduleConfig

    config = DistillConfig(schedule=ScheduleConfig(kind=schedule, interval=interval), **settings)
    timing = LatencySettings(grid=grid, threads=threads) if latency else None
    to = Target(folder=output, overwrite=overwrite, latency=timing, as_json=as_json)
    distill_job(model, dataset, config, text_column, to)
