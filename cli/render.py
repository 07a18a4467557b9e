"""What results look like: tables for people, dictionaries for machines."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table

from fxprune.allocation import Budget
from fxprune.groups import Group, Groups
from fxprune.printable import printable
from fxprune.traced import Traced
from fxprune.wording import folded


class PlainConsole(Console):
    """A console on which names from files move no cursor: see `printable`."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as the console it extends does."""
        super().print(*(printable(each) if isinstance(each, str) else _Printable(each) for each in objects), **options)


class _Printable:
    """Anything that can be printed, its text made printable once it is laid out."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.inner, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


ERR = PlainConsole(stderr=True)
_FILE_WIDTH = 120  # columns, where the result goes to a file or a pipe


def out() -> PlainConsole:
    """Return the console of results."""
    return PlainConsole(width=None if sys.stdout.isatty() else _FILE_WIDTH)


def hush() -> None:
    """Tell nothing more on stderr: another process does."""
    ERR.quiet = True


def tell(text: str, *, err: bool = False) -> None:
    """Print a result."""
    click.echo(printable(text), err=err)


def say(text: str) -> None:
    """Tell on stderr what is being done."""
    ERR.print(text, highlight=False, markup=False, soft_wrap=True)


def lost_by(budget: Budget, group: Group) -> int:
    """Return the parameters a group holds: what would go if all of its units went."""
    return budget.parameters({}) - budget.parameters({group.name: 0})


def groups_to_json(traced: Traced, groups: Groups) -> dict[str, Any]:
    """Return groups with sizes, members and reasons; frozen ones last, those that hold most parameters first."""
    budget = Budget.of(traced, groups)
    rows = [_group(group, budget) for group in groups]
    rows.sort(key=lambda row: (row["frozen"] is not None, -row["parameters"]))
    return {"parameters": traced.num_parameters(), "capture": traced.provenance.rung, "groups": rows}


def _group(group: Group, budget: Budget) -> dict[str, Any]:
    frozen = group.frozen
    return {
        "name": group.name,
        "role": group.role,
        "size": group.size,
        "axes": len(group.members),
        "parameters": lost_by(budget, group),
        "members": [str(member) for member in group.members],
        "frozen": None
        if frozen is None
        else {"reason": frozen.reason, "node": frozen.node, "module": frozen.module, "source": frozen.source},
    }


def groups_table(traced: Traced, groups: Groups) -> tuple[Table, list[str]]:
    """Return what may be cut as a table, and what is frozen as lines; equal layers folded, the largest first."""
    facts = groups_to_json(traced, groups)
    families: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in facts["groups"]:
        reason = row["frozen"] and row["frozen"]["reason"]
        families.setdefault((folded(row["name"]), row["size"], row["axes"], reason), []).append(row)
    ordered = sorted(families.values(), key=lambda rows: -_held(rows))
    table = Table(title=f"{len(groups)} groups, {facts['parameters']:,} parameters")
    for column in ("group", "layers", "units", "axes", "parameters"):
        table.add_column(column, justify="left" if column == "group" else "right", overflow="fold")
    for rows in ordered:
        if not rows[0]["frozen"]:
            name, counts = folded(rows[0]["name"]), [rows[0]["size"], rows[0]["axes"]]
            table.add_row(name, str(len(rows)) if len(rows) > 1 else "", *map(str, counts), f"{_held(rows):,}")
    return table, _frozen_lines([rows for rows in ordered if rows[0]["frozen"]])


def _frozen_lines(families: list[list[dict[str, Any]]]) -> list[str]:
    """Say of each frozen group why and where, those that keep most parameters first."""
    lines = ["frozen, by the parameters that cannot go:"] if families else []
    for rows in families:
        first, frozen = rows[0], rows[0]["frozen"]
        times = f" x {len(rows)}" if len(rows) > 1 else ""
        place = ", ".join(part for part in (frozen["node"], frozen["module"]) if part)
        lines.append(f"{_held(rows):>15,}  {folded(first['name'])} ({first['size']}){times}")
        lines += [f"{'':17}{part}" for part in (f"{frozen['reason']} at {place}", frozen["source"]) if part]
    return lines


def _held(rows: list[dict[str, Any]]) -> int:
    return sum(row["parameters"] for row in rows)


def comparison_table(rows: Iterable[tuple[str, str, str, str]]) -> Table:
    """Return teacher against student, one quantity a line: (quantity, teacher, student, ratio)."""
    table = Table(title="teacher against student")
    table.add_column("")
    for column in ("teacher", "student", "ratio"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


class StepProgress:
    """Progress on stderr: rate, time left, parameters now and loss; plain lines where no terminal shows a bar."""

    def __init__(self, steps: int) -> None:
        self.steps, self.live, self.began = steps, sys.stderr.isatty(), monotonic()
        self.progress = Progress(
            TextColumn("distil"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"),
            console=ERR,
            disable=not self.live,
        )
        self.task = self.progress.add_task("distil", total=steps, state="")

    def __enter__(self) -> StepProgress:
        self.progress.start()
        self.begin(0)
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def begin(self, done: int) -> None:
        """Count the time from here, where `done` steps have been done."""
        self.done, self.began = done, monotonic()
        self.progress.update(self.task, completed=done)

    def show(self, step: int, params: int, losses: Mapping[str, float], tokens_per_second: float) -> None:
        """Show one step."""
        state = f"{params / 1e6:.2f}M params  loss {losses['total']:.3f}  {tokens_per_second:,.0f} tokens/s"
        self.progress.update(self.task, completed=step, state=state)
        if not self.live and (step == 1 or step % max(self.steps // 10, 1) == 0):
            left = (monotonic() - self.began) / (step - self.done) * (self.steps - step)
            say(f"step {step}/{self.steps}  {state}  {left:.0f} s left")
