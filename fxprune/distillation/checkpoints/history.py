"""The steps of a run as JSON lines: what ``metrics.jsonl`` holds, and what a run that goes on begins it with."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

from fxprune.distillation.checkpoints.saved import Saved
from fxprune.distillation.report import StepReport

_FIELDS = {field.name for field in fields(StepReport)}


def line_of(step: StepReport) -> str:
    """Return one step as a line; what it has not is left out."""
    return json.dumps({name: value for name, value in asdict(step).items() if value is not None}) + "\n"


def lines_of(history: Iterable[StepReport]) -> str:
    """Return steps as lines."""
    return "".join(map(line_of, history))


def history_from(text: str) -> list[StepReport]:
    """Read and check the steps of a run.

    Raises:
        CheckpointError: a line is no step, or out of order.
    """
    return [_step(number, line) for number, line in enumerate(text.splitlines(), 1)]


def _step(number: int, line: str) -> StepReport:
    saved = parsed(line, f"history/{number}/")
    if saved.integer("step") != number or saved.data.keys() - _FIELDS:
        raise saved.wrong("it is no step of the run, or out of order")
    losses = saved.part("losses")
    return StepReport(
        step=number,
        steps=saved.integer("steps", 1),
        params=saved.integer("params", 1),
        losses={name: losses.reading(name) for name in losses.data},
        cut=saved.flag("cut"),
        ratio=saved.number("ratio"),
        tokens_per_second=saved.number("tokens_per_second"),
        learning_rate=saved.number("learning_rate"),
        flops=saved.integer("flops") if saved.optional("flops") else None,
        discrepancy=saved.reading("discrepancy") if saved.optional("discrepancy") else None,
        jump=pair(saved, "jump"),
        repaired=pair(saved, "repaired"),
    )


def parsed(line: str, within: str) -> Saved:
    """Read one line.

    Raises:
        CheckpointError: it is no JSON object.
    """
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Saved(within=within).wrong(str(error)) from error
    if not isinstance(row, dict):
        raise Saved(within=within).wrong("it is no object")
    return Saved(row, within=within)


def pair(saved: Saved, name: str) -> tuple[float, float] | None:
    """Return two numbers that were measured, if they were."""
    if not saved.optional(name):
        return None
    values = saved.items(name, (int, float))
    if len(values) != 2:
        raise saved.wrong(f"{name} has {len(values)} numbers")
    before, after = (saved.measured(name, value) for value in values)
    return before, after
