"""The list of what fxprune wrote into a folder, so that the next run replaces that and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fxprune.atomic import atomic_write

NAME = "fxprune.json"
FORMAT = "fxprune output"
VERSION = 1


def write_manifest(folder: Path, files: Iterable[Path], facts: Mapping[str, Any]) -> Path:
    """Write down which files of `folder` are ours, and `facts` about them."""
    from importlib.metadata import version

    names = sorted({file.relative_to(folder).as_posix() for file in files})
    data = {"format": FORMAT, "version": VERSION, "fxprune": version("fxprune"), **facts, "files": names}
    atomic_write(folder / NAME, json.dumps(data, indent=2, default=str) + "\n")
    return folder / NAME


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what the last run wrote down; empty if `folder` holds no such list, or one that cannot be read."""
    try:
        data = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) and data.get("format") == FORMAT else {}


def listed_files(folder: Path) -> list[str]:
    """Return the names of the files an earlier run wrote down, as far as they are names."""
    names = read_manifest(folder).get("files")
    found = names if isinstance(names, list) else []
    return [name for name in found if isinstance(name, str) and "\0" not in name]


def add_files(folder: Path, files: Iterable[Path]) -> None:
    """Add files to the list of ours; all else in it stays."""
    data, known = read_manifest(folder), set(listed_files(folder))
    names = {file.relative_to(folder).as_posix() for file in files}
    if data and not names <= known:
        data["files"] = sorted(known | names)
        atomic_write(folder / NAME, json.dumps(data, indent=2) + "\n")


def add_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Add to what is written down; nothing where no list of ours is."""
    if data := read_manifest(folder):
        atomic_write(folder / NAME, json.dumps({**data, **facts}, indent=2) + "\n")


def remove_old(folder: Path, keep: Iterable[Path] = ()) -> None:
    """Delete the files an earlier run wrote down, besides `keep`; all others stay."""
    kept = {path.resolve() for path in keep}
    for name in listed_files(folder):
        path = (folder / name).resolve()
        # a list that was edited by hand must not reach outside
        if path.is_relative_to(folder.resolve()) and path not in kept and path.is_file():
            path.unlink()
    (folder / NAME).unlink(missing_ok=True)
