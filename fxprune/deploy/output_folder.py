"""The folder of a run: whether results may go there, and taking it over when the run begins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fxprune.deploy.manifest import remove_old, write_manifest
from fxprune.errors import UsageError
from fxprune.occupied import NAME as LOCK

METRICS = "metrics.jsonl"


def check_output(folder: Path, overwrite: bool, *, source: str | None = None) -> None:
    """Raise UsageError unless results may be written to `folder`; nothing is written.

    Args:
        folder: of the results.
        overwrite: whether it may hold files already; only those of the same names are replaced, and those an earlier
            run left.
        source: the model, as the user named it: its own folder is never written to.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"output '{folder}' is a file", remedy="give --output a folder")
    if source is not None and folder.exists() and Path(source).expanduser().resolve() == folder.resolve():
        raise UsageError(f"output '{folder}' is the folder of the model itself", remedy="choose another --output")
    parent = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"output '{folder}' cannot be written", remedy="choose another --output")
    if folder.is_dir() and not overwrite and any(path.name != LOCK for path in folder.iterdir()):
        raise UsageError(
            f"output folder '{folder}' is not empty", remedy="choose another --output, or pass --overwrite"
        )


def begin_outputs(folder: Path, facts: Mapping[str, Any]) -> Path:
    """Make the folder of a run that begins, and say so in ``fxprune.json``; return where its metrics go.

    The files of an earlier run are deleted: from now on the folder is that of this one, even if it is killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_old(folder)
    write_manifest(folder, [folder / METRICS], {**facts, "unfinished": {"reason": "the run goes on, or was killed"}})
    return folder / METRICS
