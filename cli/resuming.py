"""``fxprune distill --resume``: a run that goes on with what it was told, and with what may be told anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fxprune.cli.distilling import Job, distill_job
from fxprune.distillation.checkpoints.order import CHANGEABLE, Order, read_order
from fxprune.distillation.config import LossWeights
from fxprune.errors import UsageError

_OF_THE_ORDER = ("checkpoint_every", "keep_checkpoints", "latency", "int8", "grid", "threads")
_OF_THE_JOB = ("resume", *_OF_THE_ORDER, "as_json", "allow_pickle", "trust_remote_code")


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
    distill_job(Job(order=order, folder=folder, overwrite=True, as_json=bool(given.get("as_json")), resume=True))


def _changed(order: Order, given: Mapping[str, Any]) -> Order:
    settings = {name: value for name, value in given.items() if name not in _OF_THE_JOB}
    if "loss_weights" in settings:
        settings["loss"] = LossWeights(**dict(settings.pop("loss_weights")))
    if fixed := [name for name in settings if name not in CHANGEABLE]:
        raise UsageError(
            f"{_option(fixed[0])} cannot be given with --resume: the run goes on with what it was told",
            remedy=f"what may change is {', '.join(map(_option, (*_OF_THE_JOB[1:], *CHANGEABLE)))}",
        )
    own = {name: given[name] for name in _OF_THE_ORDER if name in given}
    return replace(order.changed(settings), **own)


def _option(name: str) -> str:
    known = {"as_json": "--json", "loss": "--loss-weight", "model_argument": "a model"}
    return known.get(name, f"--{name.replace('_', '-')}")
