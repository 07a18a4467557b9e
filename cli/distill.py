"""``fxprune distill``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled

if TYPE_CHECKING:
    from fxprune.distillation.config import ScheduleKind


@click.command("distill")
@opt.options(opt.model, opt.dataset, opt.target, opt.output, opt.overwrite)
@click.option("--max-steps", default=300, show_default=True, help="Optimizer steps.")
@click.option("--batch-size", default=16, show_default=True, help="Sequences a step.")
@click.option("--length", default=64, show_default=True, help="Tokens a sequence.")
@click.option("--learning-rate", default=1e-3, show_default=True, help="Peak of the schedule.")
@click.option("--schedule", default="cubic", show_default=True, help="cubic (many small cuts) or one-shot.")
@click.option("--interval", default=5, show_default=True, help="Steps between cuts.")
@click.option("--importance", default="sensitivity", show_default=True, help="Score of the units.")
@click.option("--text-column", help="Column to read, where the data set has several.")
@opt.options(opt.device, opt.seed, opt.verify, opt.latency, opt.grid, opt.threads, opt.as_json)
@handled
def command(
    model: str,
    dataset: str | None,
    target_params: str | None,
    output: Path,
    overwrite: bool,
    schedule: str,
    interval: int,
    text_column: str | None,
    latency: bool,
    grid: tuple[tuple[int, int], ...],
    threads: int | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Narrow MODEL step by step while it learns from its dense self.

    fxprune distill --model bert-base-uncased --target-params 15M
    """
    from fxprune.cli.jobs import LatencyRequest, distill_job
    from fxprune.distillation.config import DistillConfig, ScheduleConfig
    from fxprune.errors import UsageError

    if target_params is None:
        raise UsageError("--target-params is missing", remedy="for example --target-params 15M, or 25%")
    config = DistillConfig(
        target_params=target_params,
        schedule=ScheduleConfig(kind=cast("ScheduleKind", schedule), interval=interval),
        **settings,
    )
    request = LatencyRequest(grid, threads or 1) if latency else None
    distill_job(model, dataset, config, output, overwrite, text_column, request, as_json=as_json)
