"""Kinds of option values, checked before anything is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from fxprune.errors import UsageError, unknown_name

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


class Count(click.ParamType):
    """A number of parameters: ``15M``, ``14500000``, or ``25%`` of the model, which is not known yet."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, once it can be read."""
        from fxprune.allocation import parse_count

        try:
            parse_count(value, dense=0)
        except UsageError as error:
            self.fail(f"{error.message}; {error.remedy}", param, ctx)
        return str(value)


class Counts(click.ParamType):
    """``65M,30M,15M``: several numbers of parameters."""

    name = "count,count,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the texts, once they can be read."""
        return (
            tuple(COUNT.convert(text, param, ctx) for text in str(value).split(","))
            if isinstance(value, str)
            else value
        )


class Grid(click.ParamType):
    """``1x32,1x128,8x128``: batch x length."""

    name = "grid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return ((batch, length), ...)."""
        if not isinstance(value, str):
            return value
        if not re.fullmatch(r"([1-9]\d*x[1-9]\d*)(,[1-9]\d*x[1-9]\d*)*", value.lower()):
            self.fail(f"{value!r} is no grid; write it as 1x32,8x128 (batch x length)", param, ctx)
        return tuple((int(batch), int(length)) for batch, length in re.findall(r"(\d+)x(\d+)", value.lower()))


class LossWeight(click.ParamType):
    """``kl=0.5``: a term of the loss and its weight."""

    name = "term=number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        """Return (term, weight)."""
        from dataclasses import fields

        from fxprune.distillation.config import LossWeights

        term, _, number = str(value).partition("=")
        known = [field.name for field in fields(LossWeights)]
        if term not in known:
            self.fail(unknown_name("loss term", term, known), param, ctx)
        try:
            return term, float(number)
        except ValueError:
            self.fail(f"{value!r} has no number; write it as {term}=0.5", param, ctx)


COUNT, COUNTS, GRID, LOSS_WEIGHT = Count(), Counts(), Grid(), LossWeight()
AT_LEAST_1, AT_LEAST_0 = click.IntRange(min=1), click.IntRange(min=0)
