"""Models by name, compared and shown."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from fxprune.cli import render
from fxprune.cli.graphs import competitors
from fxprune.deploy import comparison_text, latency_text
from fxprune.deploy.comparison import Comparison, Timing, compare
from fxprune.deploy.providers import find_provider


def compared(names: Sequence[str], timing: Timing) -> Comparison:
    """Export the models among `names`, and compare all."""
    find_provider(timing.provider)  # asked before anything is loaded
    with tempfile.TemporaryDirectory() as folder:
        return compare(competitors(names, Path(folder)), timing, render.say)


def show(found: Comparison, *, as_json: bool, markdown: bool) -> None:
    """Print a comparison."""
    if as_json:
        click.echo(found.to_json())
    elif markdown:
        render.tell(comparison_text.to_markdown(found).rstrip())
    else:
        render.out().print(latency_text.to_table(found.rows))
        render.out().print(comparison_text.to_table(found))
