"""Where and by what a run is made: what one needs to make it again."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("fxprune", "torch", "transformers", "tokenizers", "datasets", "onnx", "onnxscript", "onnxruntime", "numpy")


def run_facts(command_line: Iterable[str]) -> dict[str, Any]:
    """Return what made a run, for JSON.

    Args:
        command_line: the words of the call, with the name of the program.
    """
    return {
        "command_line": list(command_line),
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        **environment(),
    }


def environment() -> dict[str, Any]:
    """Return the versions of all that computes, and the machine it computes on."""
    import torch

    from fxprune.deploy.latency import cpu_name

    gpus = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "gpus": gpus,
        "threads": torch.get_num_threads(),
        "packages": _versions(),
    }


def _versions() -> Mapping[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # an optional one
    return found
