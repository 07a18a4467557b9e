"""What a cut hands out: a slim model with its plan, and the proof of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fxprune import tracing
from fxprune.certificate import certify
from fxprune.student import Student, refresh_shapes
from fxprune.traced import Traced


def finish(student: Student, dense: Traced | None, example_kwargs: Mapping[str, Any]) -> Traced:
    """Make a cut student ready to hand out: shapes refreshed, plan attached, and proved against `dense` if given."""
    slim = student.traced
    refresh_shapes(slim, student.groups)
    slim.meta["plan"] = student.plan
    slim.meta["groups"] = student.groups
    if student.latency_plan is not None:
        slim.meta["latency_plan"] = student.latency_plan
    if dense is not None:
        slim.meta["certificate"] = certify(
            dense,
            slim,
            student.groups,
            student.plan,
            tracing.runnable(slim, example_kwargs),
            free_outputs=student.free_outputs,
            changed="repairs" in slim.meta,
        )
    return slim
