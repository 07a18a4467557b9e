"""The widths a run goes to where they were chosen by latency: a clock never says the same twice, so they are kept."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

from fxprune.atomic import atomic_write
from fxprune.distillation.checkpoints.typed import read_typed
from fxprune.errors import CheckpointError
from fxprune.groups import Groups
from fxprune.latency.plan import LatencyPlan

FORMAT, VERSION, WIDTHS = "fxprune widths", 1, "widths.json"


def write_widths(folder: Path, plan: LatencyPlan) -> None:
    """Write what was chosen into the folder of checkpoints.

    Raises:
        OSError: the disk is full, or may not be written to.
    """
    data = {"format": FORMAT, "version": VERSION, **asdict(plan)}
    atomic_write(folder / WIDTHS, json.dumps(data, indent=2) + "\n")


def read_widths(folder: Path) -> LatencyPlan | None:
    """Return what was chosen for the run whose checkpoints are in `folder`; None where it did not come that far.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = folder / WIDTHS
    if not path.is_file():
        return None
    plan = read_typed(path, LatencyPlan, FORMAT, VERSION)
    times = [plan.predicted_ms, plan.measured_ms, plan.dense_ms, plan.target_ms, plan.uniform_ms]
    if not all(ms is None or (math.isfinite(ms) and ms > 0) for ms in times):
        raise CheckpointError(
            f"'{path}' is damaged", cause="a time is not positive", remedy="begin the run again, with --overwrite"
        )
    return plan


def check_widths(plan: LatencyPlan, groups: Groups) -> None:
    """Raise CheckpointError where widths that were kept are not those of a model with these groups."""
    sizes = {group.name: group.size for group in groups.prunable}
    for name, count in plan.counts.items():
        if not 1 <= count <= sizes.get(name, 0):
            raise CheckpointError(
                "the widths kept for the run are not those of this model",
                cause=f"{name!r:.60} has no {count} units to keep",
                remedy="resume with the same model",
            )
