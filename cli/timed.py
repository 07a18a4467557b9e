"""What planning by latency found, as the commands tell it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from fxprune.cli import render
from fxprune.deploy.outputs import Outputs
from fxprune.latency import LatencyPlan
from fxprune.traced import Traced


def timed_facts(slim: Traced, outputs: Outputs | None = None) -> dict[str, Any]:
    """Return what is known of a latency target; nothing where there was none."""
    plan: LatencyPlan | None = slim.meta.get("latency_plan")
    return {} if plan is None else plan.facts(outputs.latency if outputs else ())


def say_plan(plan: LatencyPlan | None) -> None:
    """Tell on stderr what widths take, and what each cut bought."""
    if plan is None:
        return
    for note in plan.notes():
        render.say(note)
    say_cuts(plan)


def say_cuts(plan: LatencyPlan | None) -> None:
    """Tell on stderr what each cut bought."""
    if plan is not None and plan.cuts:
        render.ERR.print(cuts_table(plan))


def cuts_table(plan: LatencyPlan) -> Table:
    """Return what each cut bought: the model beside one where that group alone is dense again."""
    found = Table(title=f"what each cut bought at {plan.workload}", title_justify="left")
    for column in ("group", "units", "kept", "ms saved", "of latency", "parameters saved"):
        found.add_column(column, justify="left" if column == "group" else "right")
    for cut in plan.cuts:
        share = f"{cut.share:.1%}" + (" (nothing)" if cut.nothing else "")
        found.add_row(cut.groups, str(cut.dense), str(cut.kept), f"{cut.ms:.2f}", share, f"{cut.params:,}")
    return found


def say_result(facts: Mapping[str, Any]) -> None:
    """Tell how the finished student compares with the target."""
    target = facts.get("latency_target")
    if target and target["target_ms"] and target["student_ms"]:
        asked, found = target["target_ms"], target["student_ms"]
        verdict = "met" if target["met"] else "missed by more than 10 %"
        render.say(f"latency target {asked:g} ms: the student takes {found:.2f} ms, {verdict}")
