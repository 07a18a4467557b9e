"""``fxprune inspect``: the groups of a model, their sizes, and what is frozen and why."""

from __future__ import annotations

from pathlib import Path

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled


@click.command("inspect", short_help="Show what is coupled in a model, and what is frozen and why.")
@opt.model
@click.option("--graph", "graph_file", type=opt.FILE, help="Draw the dependency graph as SVG.")
@click.option("--overwrite", is_flag=True, help="Replace the drawing.")
@opt.options(opt.free_outputs, opt.as_json)
@handled
def command(model: str, graph_file: Path | None, overwrite: bool, free_outputs: bool, as_json: bool) -> None:
    """Show the groups of coupled units in MODEL, and what is frozen and why.

    fxprune inspect --model bert-base-uncased --graph groups.svg
    """
    import json

    from fxprune.api import analyse
    from fxprune.atomic import atomic_write
    from fxprune.cli import render
    from fxprune.cli.drawing import to_svg
    from fxprune.cli.graphs import open_graph
    from fxprune.groups import feature_outputs

    if graph_file is not None:
        opt.check_file(graph_file, overwrite)
    traced = open_graph(model).traced
    groups = analyse(traced, free_outputs=feature_outputs(traced) if free_outputs else None)
    if graph_file is not None:
        atomic_write(graph_file, to_svg(groups))
        render.say(f"drew {graph_file}")
    if as_json:
        click.echo(json.dumps(render.groups_to_json(traced, groups), indent=2))
    else:
        table, frozen = render.groups_table(traced, groups)
        render.out().print(table)
        render.tell("\n".join(frozen))
