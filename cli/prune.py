"""``fxprune prune``: one cut, without training."""

from __future__ import annotations

from pathlib import Path

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled


@click.command("prune")
@opt.options(opt.model, opt.target)
@click.option("--ratio", type=float, help="Fraction of every matrix axis that stays, in (0, 1].")
@click.option("--plan", "plan_file", type=opt.FILE, help="plan.json of an earlier run of the same model.")
@click.option("--importance", default="magnitude", show_default=True, help="magnitude or random.")
@click.option("--free-outputs", is_flag=True, help="Let output features shrink too, such as a hidden state.")
@opt.options(opt.output, opt.overwrite, opt.seed, opt.verify, opt.latency, opt.grid, opt.threads, opt.as_json)
@handled
def command(
    model: str,
    target_params: str | None,
    ratio: float | None,
    plan_file: Path | None,
    importance: str,
    free_outputs: bool,
    output: Path,
    overwrite: bool,
    seed: int,
    verify: bool,
    latency: bool,
    grid: tuple[tuple[int, int], ...],
    threads: int | None,
    as_json: bool,
) -> None:
    """Cut MODEL to a parameter budget at once, without training.

    fxprune prune --model bert-base-uncased --target-params 15M
    """
    from fxprune.cli.jobs import Cut, LatencyRequest, prune_job

    cut = Cut(target_params, ratio, plan_file, importance, free_outputs, seed, verify)
    request = LatencyRequest(grid, threads or 1) if latency else None
    prune_job(model, cut, output, overwrite, request, as_json=as_json)
