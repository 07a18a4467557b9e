"""What a checkpoint must have in common with the run that goes on: the model, the data, the widths, most settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import torch
from torch import Tensor

from fxprune.distillation.batch import Batch
from fxprune.distillation.config import DistillConfig
from fxprune.distillation.stream import digest_of
from fxprune.errors import CheckpointError
from fxprune.widths import Counts

CHANGEABLE = (
    "learning_rate",
    "interval",
    "repair",
    "repair_batches",
    "repair_interval",
    "loss",
    "micro_batch",
    "auto_batch",
    "eval_every",
    "log_with",
    "timeout",
    "verify",
    "device",
)  # settings a run may go on with in another form
_NAMES = {
    "model": ("the model is not the one the run began with", "resume with the same model"),
    "data": ("the held-out data are not those the run began with", "resume with the same data and tokenizer"),
    "widths": (
        "the widths the run goes to are not those it began with",
        "they were chosen by latency: begin the run again, with --overwrite",
    ),
    "settings": ("the settings are not those the run began with", f"what may change is {', '.join(CHANGEABLE)}"),
}


def identity_of(
    weights: Mapping[str, Tensor], held_out: Sequence[Batch], config: DistillConfig, widths: Counts | None
) -> dict[str, str]:
    """Return the fingerprints of a run: of its teacher's weights, its held-out batches, its widths and its settings.

    Args:
        weights: of the teacher.
        held_out: batches.
        config: settings.
        widths: the run goes to, where they do not follow from the settings.
    """
    return {
        "model": _of_weights(weights),
        "data": hashlib.sha256("".join(map(digest_of, held_out)).encode()).hexdigest()[:16],
        "widths": hashlib.sha256(_canonical(widths).encode()).hexdigest()[:16],
        "settings": _of_settings(config),
    }


def check_identity(found: Mapping[str, str], wanted: Mapping[str, str], where: str) -> None:
    """Raise CheckpointError where a checkpoint is of another run.

    Args:
        found: in the checkpoint.
        wanted: of the run.
        where: the checkpoint is.
    """
    for name, (message, remedy) in _NAMES.items():
        if found.get(name) != wanted[name]:
            cause = f"'{where}' has the fingerprint {found.get(name)!r:.20}, and this is {wanted[name]!r}"
            raise CheckpointError(message, cause=cause, remedy=remedy)


def _of_weights(weights: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        found.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        found.update(tensor.view(-1).view(torch.uint8).numpy().data)  # numpy knows no bfloat16
    return found.hexdigest()[:16]


def _of_settings(config: DistillConfig) -> str:
    settings = asdict(config)
    schedule = settings["schedule"]
    kept = {name: value for name, value in settings.items() if name not in CHANGEABLE}
    kept["schedule"] = {name: value for name, value in schedule.items() if name not in CHANGEABLE}
    return hashlib.sha256(_canonical(kept).encode()).hexdigest()[:16]


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=_listed)


def _listed(value: Iterable[object]) -> list[object]:
    return list(value)
