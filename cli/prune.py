"""``fxprune prune``: one cut, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled
from fxprune.errors import UsageError, check_one_of


@click.command("prune", short_help="Cut a model at once, without training.")
@opt.options(opt.model, opt.target, opt.target_flops, opt.target_latency)
@click.option("--ratio", type=click.FloatRange(0, 1, min_open=True), help="Fraction of every matrix axis that stays.")
@click.option("--plan", "plan_file", type=opt.FILE, help="plan.json of an earlier run of the same model.")
@click.option("--importance", type=click.Choice(["magnitude", "random"]), default="magnitude", show_default=True)
@opt.options(opt.at, opt.optimise_for, opt.allocation, opt.min_keep, opt.round_to)
@click.option("--length", type=opt.AT_LEAST_1, default=128, show_default=True, help="Tokens that FLOPs are counted at.")
@opt.options(opt.repair, opt.repair_batches)
@click.option("--dataset", help="Text or images to repair on: hub name, local files, or 'demo'.")
@click.option("--dry-run", is_flag=True, help="Print the widths that would be left, and stop.")
@opt.options(opt.free_outputs, opt.output, opt.overwrite, opt.seed, opt.verify)
@opt.options(opt.int8_too, opt.latency, opt.grid, opt.threads, opt.as_json)
@handled
def command(
    model: str,
    output: Path,
    overwrite: bool,
    int8: bool,
    latency: bool,
    grid: tuple[tuple[int, int], ...],
    threads: tuple[int, ...],
    as_json: bool,
    dry_run: bool,
    **cut: Any,
) -> None:
    """Cut MODEL at once, without training: to a budget, by a ratio, or as an earlier plan says.

    fxprune prune --model bert-base-uncased --target-params 15M
    """
    names = {
        "--target-params": "target_params",
        "--target-flops": "target_flops",
        "--target-latency": "target_latency",
        "--ratio": "ratio",
        "--plan": "plan_file",
    }
    check_one_of({option: cut[name] for option, name in names.items()}, opt.TARGET_EXAMPLE)
    if cut["dataset"] and cut["repair"] == "none":
        raise UsageError(
            "--dataset is the text of a repair, and none is asked for", remedy="add --repair least-squares"
        )
    from fxprune.cli.cuts import Cut, show_plan
    from fxprune.cli.jobs import LatencySettings, Target, prune_job

    if dry_run:
        show_plan(model, Cut(**cut), as_json=as_json)
        return

    settings = LatencySettings(grid=grid, threads=threads) if latency else None
    prune_job(
        model, Cut(**cut), Target(folder=output, overwrite=overwrite, latency=settings, as_json=as_json, int8=int8)
    )
