"""``fxprune bench``: latency of models and ONNX files, side by side."""

from __future__ import annotations

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled


@click.command("bench")
@click.argument("models", nargs=-1, required=True)
@opt.grid
@click.option("--threads", type=click.IntRange(min=1), multiple=True, default=(1,), show_default=True)
@opt.as_json
@handled
def command(
    models: tuple[str, ...], grid: tuple[tuple[int, int], ...], threads: tuple[int, ...], as_json: bool
) -> None:
    """Measure the latency of MODELS (folders, hub names, 'demo') in ONNX Runtime; the first is the baseline.

    fxprune bench bert-base-uncased out/
    """
    from fxprune.cli.jobs import bench_job

    bench_job(models, grid, threads, as_json=as_json)
