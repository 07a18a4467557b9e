"""``fxprune distill --resume``: a run that goes on with what it was told, and with what may be told anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fxprune.cli import render
from fxprune.cli.distilling import Job, distill_job
from fxprune.cli.jobs import Target
from fxprune.deploy.outputs import LatencySettings
from fxprune.distillation.checkpoints.keeper import Keeping
from fxprune.distillation.checkpoints.order import CHANGEABLE, Order, read_order
from fxprune.distillation.config import LossWeights
from fxprune.errors import UsageError

_OF_THE_JOB = (
    "resume",
    "checkpoint_every",
    "keep_checkpoints",
    "latency",
    "int8",
    "grid",
    "threads",
    "as_json",
    "allow_pickle",
    "trust_remote_code",
)


def resume_job(folder: Path, given: Mapping[str, Any]) -> None:
    """Go on with the run in `folder`.

    Args:
        folder: of the run.
        given: options of this call; all others are those the run began with.
    Raises:
        CheckpointError: there is no run in `folder`.
        UsageError: an option that cannot change any more.
    """
    order = _changed(read_order(folder), given)
    timing = LatencySettings(grid=order.grid, threads=order.threads) if order.latency else None
    to = Target(folder=folder, overwrite=True, latency=timing, as_json=bool(given.get("as_json")), int8=order.int8)
    keeping = Keeping(
        folder=folder,
        every=given.get("checkpoint_every", order.checkpoint_every),
        last=given.get("keep_checkpoints", order.keep_checkpoints),
        resume=True,
        warn=render.say,
    )
    distill_job(
        Job(
            model=order.model,
            dataset=order.dataset,
            config=order.config,
            text_column=order.text_column,
            target_column=order.target_column,
            to=to,
            keeping=keeping,
        )
    )


def _changed(order: Order, given: Mapping[str, Any]) -> Order:
    settings = {name: value for name, value in given.items() if name not in _OF_THE_JOB}
    if "loss_weights" in settings:
        settings["loss"] = LossWeights(**dict(settings.pop("loss_weights")))
    if fixed := [name for name in settings if name not in CHANGEABLE]:
        raise UsageError(
            f"{_option(fixed[0])} cannot be given with --resume: the run goes on with what it was told",
            remedy=f"what may change is {', '.join(map(_option, (*_OF_THE_JOB[1:], *CHANGEABLE)))}",
        )
    own = {name: given[name] for name in ("latency", "int8", "grid", "threads") if name in given}
    return replace(order.changed(settings), **own)


def _option(name: str) -> str:
    known = {"as_json": "--json", "loss": "--loss-weight", "model_argument": "a model"}
    return known.get(name, f"--{name.replace('_', '-')}")
