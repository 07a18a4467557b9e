"""``fxprune report``: the page and the model card of an output folder, made anew."""

from __future__ import annotations

from pathlib import Path

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled


@click.command("report", short_help="Make the report and the model card of a folder anew.")
@click.argument("folder", type=opt.FOLDER)
@opt.as_json
@handled
def command(folder: Path, as_json: bool) -> None:
    """Make report.html and README.md of an output FOLDER anew, from the files in it.

    fxprune report out/
    """
    import json

    from fxprune.cli import render
    from fxprune.report.writing import write_report

    written = write_report(folder)
    if as_json:
        click.echo(json.dumps({"files": [str(file) for file in written.files], "left": list(written.left)}, indent=2))
        return
    for reason in written.left:
        render.say(reason)
    for file in written.files:
        click.echo(str(file))
