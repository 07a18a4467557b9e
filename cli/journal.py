"""``fxprune journal``: what a run has cut, and what that cost."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fxprune.cli import options as opt
from fxprune.cli.errors import handled

if TYPE_CHECKING:
    from fxprune.distillation.checkpoints.journal import Cut


@click.command("journal", short_help="List the cuts of a run, or go back before one.")
@click.argument("folder", type=opt.FOLDER)
@click.option("--undo-to", type=opt.AT_LEAST_1, metavar="STEP", help="Take the run back to before the cut of STEP.")
@opt.options(opt.as_json)
@handled
def command(folder: Path, undo_to: int | None, as_json: bool) -> None:
    """List the cuts of the run in FOLDER, each with how much further it took the student from its teacher.

    fxprune journal out --undo-to 40

    goes back to the newest checkpoint before step 40, and deletes what came after; `fxprune distill --resume out` then
    goes on from there, if need be with a longer --interval, a --repair or a lower --learning-rate.
    """
    from fxprune.cli import render
    from fxprune.distillation.checkpoints.undoing import cuts_in
    from fxprune.distillation.checkpoints.undoing import undo_to as undo
    from fxprune.occupied import Seat

    cuts = cuts_in(folder) if undo_to is None else []
    if undo_to is not None:
        with Seat(folder) as seat:
            seat.check()
            seat.take()
            step = undo(folder, undo_to)
        if as_json:
            click.echo(json.dumps({"folder": str(folder), "step": step}))
        else:
            click.echo(f"back {f'after step {step}' if step else 'at the beginning'}; what came later is deleted")
            click.echo(f"go on with: fxprune distill --resume {folder}")
    elif as_json:
        click.echo(json.dumps([{**asdict(cut), "units": cut.units, "cost": cut.cost} for cut in cuts], indent=2))
    else:
        render.out().print(_table(cuts))


def _table(cuts: list[Cut]) -> Any:
    """Return one line a cut; the one that cost most is marked."""
    from rich.table import Table

    worst = max((cut.cost for cut in cuts if cut.cost is not None), default=None)
    table = Table(title=f"{len(cuts)} cuts")
    for heading in ("step", "units", "back", "parameters", "discrepancy before", "after", "cost", "scores"):
        table.add_column(heading, justify="left" if heading == "scores" else "right")
    for cut in cuts:
        before, after = cut.jump or (None, None)
        mark = " *" if cut.cost is not None and cut.cost == worst and len(cuts) > 1 else ""
        returned = sum(map(len, cut.returned.values()))
        table.add_row(
            str(cut.step),
            f"{cut.units:,}",
            f"{returned:,}" if returned else "",
            f"{cut.params[0]:,} -> {cut.params[1]:,}" if cut.params[0] != cut.params[1] else f"{cut.params[1]:,}",
            "" if before is None else f"{before:.4f}",
            "" if after is None else f"{after:.4f}",
            "" if cut.cost is None else f"{cut.cost:+.4f}{mark}",
            cut.scores,
        )
    return table
