"""Points at which a run is killed, or meets a full disk: calls it comes by, each counted."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.optim import AdamW

from fxprune import atomic
from fxprune.deploy import bundle, hf, manifest, outputs
from fxprune.distillation import tracking
from fxprune.distillation.checkpoints import journal, keeper, storage
from fxprune.passes import SliceUnits

PASSED = "passed.json"
Call = Callable[..., Any]

# name -> (where the function is looked up, its name)
POINTS: dict[str, tuple[Any, str]] = {
    "weights of a checkpoint": (storage, "_save"),
    "checksums of a checkpoint": (storage, "_checksums"),
    "a checkpoint": (storage, "write"),
    "deleting a checkpoint": (storage, "remove"),
    "the journal": (keeper.Keeper, "note"),
    "a journal line": (journal.Cut, "to_line"),
    "a rename": (os, "replace"),
    "a sync": (atomic, "_sync_file"),
    "a metrics line": (tracking.Recorder, "write"),
    "a rewrite": (SliceUnits, "call"),
    "an update": (AdamW, "step"),
    "the manifest": (manifest, "atomic_write"),
    "the plan": (bundle, "atomic_write"),
    "the graph": (outputs, "write_graph"),
    "the Hugging Face model": (hf, "move_files"),
    "the ONNX file": (outputs._Writer, "onnx_file"),
}


TORN = ("weights of a checkpoint", "a sync")  # files that are not in their place yet: half of one may be there


@contextmanager
def installed(fault: dict[str, Any] | None, folder: Path) -> Iterator[None]:
    """Count calls at every point; at the one of `fault`, do what it says.

    Args:
        fault: "point" (name), "nth" (call, from 1), "when" (before, within, after), "what" (kill, full disk, no memory)
        folder: where the counts go.
    """
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        for name, (owner, attribute) in POINTS.items():
            own = fault if fault is not None and fault["point"] == name else None
            wrapped = _counting(getattr(owner, attribute), name, counts, own)
            stack.enter_context(patch.object(owner, attribute, wrapped))
        try:
            yield
        finally:  # a command ends with SystemExit
            (folder / PASSED).write_text(json.dumps(counts))


def _counting(real: Call, name: str, counts: Counter[str], fault: dict[str, Any] | None) -> Call:
    def call(*args: Any, **kwargs: Any) -> Any:
        counts[name] += 1
        if fault is None or counts[name] != fault["nth"]:
            return real(*args, **kwargs)
        if fault["what"] == "full disk":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if fault["what"] == "no memory":
            _allocate_too_much()
        if fault["when"] != "before":
            real(*args, **kwargs)
        if fault["when"] == "within" and name in TORN:
            _halve([arg for arg in args if isinstance(arg, Path) and arg.is_file()])
        return os.kill(os.getpid(), signal.SIGKILL)

    return call


def _allocate_too_much() -> None:
    """Let torch ask for more than this process may have."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 26), resource.RLIM_INFINITY))
    torch.empty(1 << 30)


def _halve(paths: list[Path]) -> None:
    for path in paths:
        os.truncate(path, path.stat().st_size // 2)
