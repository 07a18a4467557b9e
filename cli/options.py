"""Options that several commands share, and checks that cost nothing and come first."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)

model = click.option("--model", required=True, help="Hub name, folder, or 'demo' (the embedded teacher).")
dataset = click.option(
    "--dataset", help="Hub name, local parquet/json/text files, or 'demo'. Default: Wikipedia, streamed."
)
output = click.option("--output", type=FOLDER, default=Path("out"), show_default=True, help="Folder for all results.")
overwrite = click.option("--overwrite", is_flag=True, help="Replace the results of an earlier run in --output.")
target = click.option("--target-params", help="Upper bound: 15M, 14500000, or 25% of the model.")
device = click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
seed = click.option("--seed", default=0, show_default=True, help="Of data order, masks and random scores.")
verify = click.option("--verify", is_flag=True, help="Prove the result and write certificate.json.")
threads = click.option("--threads", type=click.IntRange(min=1), help="CPU threads for the latency. Default: 1.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
latency = click.option("--latency/--no-latency", default=True, show_default=True, help="Measure teacher and student.")


class Grid(click.ParamType):
    """``1x32,1x128,8x128``: batch x length."""

    name = "grid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return ((batch, length), ...)."""
        if not isinstance(value, str):
            return value
        try:
            points = tuple((int(b), int(s)) for b, s in (point.lower().split("x") for point in value.split(",")))
        except ValueError:
            self.fail(f"{value!r} is no grid; write it as 1x32,8x128 (batch x length)", param, ctx)
        if any(b < 1 or s < 1 for b, s in points):
            self.fail(f"{value!r} has a size below 1", param, ctx)
        return points


grid = click.option("--grid", type=Grid(), default="1x32,1x128,8x128", show_default=True, help="Batch x length.")


def options(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Apply several options, first one on top of the help."""

    def apply(function: Callable[..., Any]) -> Callable[..., Any]:
        return functools.reduce(lambda f, decorate: decorate(f), reversed(decorators), function)

    return apply
