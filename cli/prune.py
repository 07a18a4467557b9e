"""``fxprune prune``: one cut, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled
from fxprune.errors import check_one_of


@click.command("prune", short_help="Cut a model at once, without training.")
@opt.options(opt.model, opt.target)
@click.option("--ratio", type=click.FloatRange(0, 1, min_open=True), help="Fraction of every matrix axis that stays.")
@click.option("--plan", "plan_file", type=opt.FILE, help="plan.json of an earlier run of the same model.")
@click.option("--importance", type=click.Choice(["magnitude", "random"]), default="magnitude", show_default=True)
@opt.options(opt.free_outputs, opt.output, opt.overwrite, opt.seed, opt.verify)
@opt.options(opt.latency, opt.grid, opt.threads, opt.as_json)
@handled
def command(
    model: str,
    output: Path,
    overwrite: bool,
    latency: bool,
    grid: tuple[tuple[int, int], ...],
    threads: tuple[int, ...],
    as_json: bool,
    **cut: Any,
) -> None:
    """Cut MODEL at once, without training: to a budget, by a ratio, or as an earlier plan says.

    fxprune prune --model bert-base-uncased --target-params 15M
    """
    given = {"--target-params": cut["target_params"], "--ratio": cut["ratio"], "--plan": cut["plan_file"]}
    check_one_of(given, opt.TARGET_EXAMPLE)
    from fxprune.cli.jobs import Cut, LatencySettings, Target, prune_job

    settings = LatencySettings(grid=grid, threads=threads) if latency else None
    prune_job(model, Cut(**cut), Target(folder=output, overwrite=overwrite, latency=settings, as_json=as_json))
