"""``fxprune explain``: what is in a group, what coupled two axes, and what froze one."""

from __future__ import annotations

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled
from fxprune.errors import UsageError
from fxprune.printable import printable


@click.command("explain", short_help="Say what couples two axes, or what froze one.")
@opt.model_option
@opt.trusted
@click.argument("names", nargs=-1, required=True, metavar="[MODEL] AXIS [AXIS]")
@opt.options(opt.free_outputs, opt.as_json)
@handled
def command(model: str | None, names: tuple[str, ...], free_outputs: bool, as_json: bool) -> None:
    """Explain one AXIS (its groups, all they hold, what froze them) or two (the nodes that coupled them).

    An axis is the name of a group, or a parameter and a dimension counted from 0:

    fxprune explain bert-base-uncased bert.pooler.dense.weight:0
    """
    import json

    first, axes = (None, names) if model is not None else (names[0], names[1:])
    if len(axes) not in (1, 2):
        raise UsageError(f"{len(axes) or 'no'} axes were given", remedy="give a model, and one axis or two")
    from fxprune.api import analyse
    from fxprune.cli.graphs import open_graph
    from fxprune.groups import feature_outputs

    traced = open_graph(opt.one_model(model, first)).traced
    groups = analyse(traced, free_outputs=feature_outputs(traced) if free_outputs else None)
    answer = groups.explain(*axes)
    click.echo(json.dumps(answer.to_data(), indent=2) if as_json else printable(str(answer)))
