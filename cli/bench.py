"""``fxprune bench``: latency of models and ONNX files, side by side."""

from __future__ import annotations

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled


@click.command("bench", short_help="Time models and ONNX files side by side.")
@click.argument("models", nargs=-1, required=True)
@opt.trusted
@opt.options(opt.grid, opt.threads, opt.as_json)
@handled
def command(
    models: tuple[str, ...], grid: tuple[tuple[int, int], ...], threads: tuple[int, ...], as_json: bool
) -> None:
    """Time MODELS (folders, hub names, 'demo', .onnx files) in ONNX Runtime, in turn; the first is the baseline.

    fxprune bench bert-base-uncased out/
    """
    from fxprune.cli import render
    from fxprune.cli.graphs import time_models
    from fxprune.deploy.latency import to_json, to_table

    rows = time_models(models, grid, threads)
    if as_json:
        click.echo(to_json(rows))
    else:
        render.out().print(to_table(rows))
