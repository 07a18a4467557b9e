"""What `fxprune prune` is asked for, and its dry run."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from fxprune.api import constraints
from fxprune.cli import render
from fxprune.cli.foresight import facts, foresee, sizes, table
from fxprune.cli.graphs import captured, open_model
from fxprune.errors import UsageError
from fxprune.forecast import forecast
from fxprune.goal import Allocation, Goal, Purpose
from fxprune.groups import byproducts, feature_outputs
from fxprune.planning import plan_latency
from fxprune.student import Student
from fxprune.traced import Traced


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What `fxprune prune` is asked for; one of the first five."""

    target_params: str | None
    target_flops: str | None
    target_latency: str | None
    ratio: float | None
    plan_file: Path | None
    at: str | None
    optimise_for: Purpose
    length: int
    allocation: Allocation
    min_keep: float | None
    round_to: int
    importance: str
    free_outputs: bool
    seed: int
    verify: bool
    repair: str
    repair_batches: int
    dataset: str | None

    @property
    def goal(self) -> Goal | None:
        """How small the model shall be; None where a plan says it."""
        if self.plan_file is not None:
            return None
        return Goal(**{field.name: getattr(self, field.name) for field in fields(Goal)})

    def free(self, traced: Traced, tokenizer: Any) -> frozenset[int]:
        """Return the outputs that may be cut."""
        return feature_outputs(traced) if self.free_outputs else byproducts(traced)


def show_plan(model: str, cut: Cut, *, as_json: bool) -> None:
    """Print the widths a cut would leave, and cut nothing."""
    goal = cut.goal
    if goal is None:
        raise UsageError("a plan needs no dry run", remedy="read it: it is JSON")
    planned = foresee(model, goal, cut.free, weights=False)
    if planned is None:
        given = open_model(model)
        traced = captured(given, goal.length)
        student = Student(traced, free_outputs=cut.free(traced, None))
        limits = constraints(given.model, traced)
        timed = plan_latency(student, goal, limits, render.say) if goal.times else None
        planned = forecast(traced, student.groups, goal, limits, timed)
    if as_json:
        click.echo(json.dumps(facts(planned), indent=2))
    else:
        click.echo(sizes(planned))
        if planned.widths:
            render.out().print(table(planned))
        for note in planned.notes:
            render.say(note)
