"""``fxprune inspect``: the groups of a model, their sizes, and what is frozen and why."""

from __future__ import annotations

from pathlib import Path

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled


@click.command("inspect")
@opt.model
@click.option("--graph", "graph_file", type=opt.FILE, help="Draw the dependency graph as SVG.")
@click.option("--free-outputs", is_flag=True, help="Let output features shrink too, such as a hidden state.")
@opt.as_json
@handled
def command(model: str, graph_file: Path | None, free_outputs: bool, as_json: bool) -> None:
    """Show the groups of coupled units in MODEL, and what is frozen and why.

    fxprune inspect --model bert-base-uncased
    """
    import json

    from rich.console import Console

    from fxprune.atomic import atomic_write
    from fxprune.cli.drawing import to_svg
    from fxprune.cli.jobs import inspect_job
    from fxprune.cli.render import groups_table, groups_to_json

    traced, groups = inspect_job(model, free_outputs)
    if graph_file is not None:
        atomic_write(graph_file, to_svg(groups))
        click.echo(f"drew {graph_file}", err=True)
    if as_json:
        click.echo(json.dumps(groups_to_json(traced, groups), indent=2))
    else:
        Console().print(groups_table(traced, groups))
