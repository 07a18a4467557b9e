"""A checkpoint on disk: a folder that appears whole or not at all, with a checksum of every file in it.

``step-120/`` holds the student (``student.safetensors``, ``plan.json``), the rest of the state (``state.safetensors``,
``state.json``; ``process-0.safetensors`` and so on for each process), the steps so far (``metrics.jsonl``), the cuts so
far (``journal.jsonl``), and ``manifest.json``, which is written last.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fxprune.atomic import atomic_folder
from fxprune.distillation.checkpoints.saved import Saved
from fxprune.errors import CheckpointError
from fxprune.hub import first_line

FORMAT, VERSION = "fxprune checkpoint", 1
MANIFEST, STUDENT, PLAN, STATE = "manifest.json", "student.safetensors", "plan.json", "state"
HISTORY, JOURNAL = "metrics.jsonl", "journal.jsonl"
_FOLDER = re.compile(r"step-([1-9]\d{0,17})")
_LONGEST = 1 << 20  # bytes of a manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a checkpoint holds.

    Attributes:
        step: after which it was written.
        identity: fingerprints of the run.
        weights: of the student.
        plan: of the student, as JSON.
        common: state of all processes.
        own: state of each process.
        history: steps so far, as JSON lines.
        journal: cuts so far, likewise.
    """

    step: int
    identity: Mapping[str, str]
    weights: Mapping[str, Tensor]
    plan: str
    common: Saved
    own: tuple[Saved, ...]
    history: str
    journal: str


# ---------------------------------------------------------------------- writing


def write(root: Path, content: Content) -> Path:
    """Write a checkpoint into `root`; one of the same step is replaced.

    Raises:
        OSError: the disk is full, or may not be written to; nothing else is touched then.
    """
    path = root / f"step-{content.step}"
    with atomic_folder(path) as folder:
        _save(content.weights, folder / STUDENT)
        (folder / PLAN).write_text(content.plan, encoding="utf-8")
        _save_part(content.common, folder / STATE)
        for index, part in enumerate(content.own):
            _save_part(part, folder / f"process-{index}")
        (folder / HISTORY).write_text(content.history, encoding="utf-8")
        (folder / JOURNAL).write_text(content.journal, encoding="utf-8")
        data = {
            "format": FORMAT,
            "version": VERSION,
            "step": content.step,
            "processes": len(content.own),
            "identity": dict(content.identity),
            "files": _checksums(folder),
        }
        (folder / MANIFEST).write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    return path


def _save_part(part: Saved, stem: Path) -> None:
    _save(part.tensors, stem.with_name(f"{stem.name}.safetensors"))
    stem.with_name(f"{stem.name}.json").write_text(json.dumps(part.data), encoding="utf-8")


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    found = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(found, path)
    except SafetensorError as error:  # what went wrong below is told in its text alone
        raise OSError(first_line(error)) from error


def _checksums(folder: Path) -> dict[str, dict[str, Any]]:
    files = sorted(folder.iterdir())
    with ThreadPoolExecutor(2) as pool:  # hashing lets other threads run
        sums = list(pool.map(_sha256, files))
    return {file.name: {"bytes": file.stat().st_size, "sha256": found} for file, found in zip(files, sums, strict=True)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------------------------------- reading


def found_in(root: Path) -> list[Path]:
    """Return the checkpoints of a folder, the newest first; none is opened."""
    if not root.is_dir():
        return []
    return sorted((path for path in root.iterdir() if _FOLDER.fullmatch(path.name)), key=step_of, reverse=True)


def step_of(path: Path) -> int:
    """Return the step in the name of a checkpoint."""
    found = _FOLDER.fullmatch(path.name)
    assert found is not None
    return int(found[1])


def read(path: Path) -> Content:
    """Read a checkpoint, once every file is what it was when it was written.

    Raises:
        CheckpointError: it is damaged, or of another version.
    """
    manifest = checked(path)
    try:
        return Content(
            step=manifest.integer("step", 1),
            identity={name: manifest.part("identity").text(name) for name in manifest.part("identity").data},
            weights=load_file(path / STUDENT),
            plan=(path / PLAN).read_text(encoding="utf-8"),
            common=_load_part(path / STATE),
            own=tuple(_load_part(path / f"process-{i}") for i in range(manifest.integer("processes", 1, 1 << 16))),
            history=(path / HISTORY).read_text(encoding="utf-8"),
            journal=(path / JOURNAL).read_text(encoding="utf-8"),
        )
    except (OSError, ValueError, SafetensorError, RecursionError) as error:
        raise damaged(path, first_line(error)) from error


def checked(path: Path) -> Saved:
    """Return the manifest of a checkpoint, once every file has the size and checksum it says.

    Raises:
        CheckpointError: one has not.
    """
    manifest = _manifest(path)
    files = manifest.part("files")
    if odd := sorted(files.data.keys() ^ _names(manifest.integer("processes", 1, 1 << 16))):
        raise damaged(path, f"its {MANIFEST} should {'not ' if odd[0] in files.data else ''}name {odd[0]!r:.60}")
    for name in files.data:
        part = files.part(name)
        if not (path / name).is_file() or (path / name).is_symlink():
            raise damaged(path, f"{name} is missing")
        if (path / name).stat().st_size != part.integer("bytes"):
            raise damaged(path, f"{name} has another size than it was written with")
        if _sha256(path / name) != part.text("sha256"):
            raise damaged(path, f"{name} is not what was written: its checksum differs")
    if manifest.integer("step", 1) != step_of(path):
        raise damaged(path, f"it was written after step {manifest.integer('step', 1)}")
    return manifest


def _names(processes: int) -> set[str]:
    parts = (STATE, *(f"process-{index}" for index in range(processes)))
    pairs = {f"{part}.{suffix}" for part in parts for suffix in ("json", "safetensors")}
    return {STUDENT, PLAN, HISTORY, JOURNAL, *pairs}


def _manifest(path: Path) -> Saved:
    try:
        if (path / MANIFEST).stat().st_size > _LONGEST:
            raise damaged(path, f"{MANIFEST} is too long")
        data = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, first_line(error)) from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise damaged(path, f"{MANIFEST} is none of a checkpoint")
    if data.get("version") != VERSION:
        raise damaged(path, f"it has version {data.get('version')!r:.20}, and this fxprune reads {VERSION}")
    return Saved(data, within=f"{path.name}/")


def _load_part(stem: Path) -> Saved:
    data = json.loads(stem.with_name(f"{stem.name}.json").read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise ValueError(f"{stem.name}.json is no object")
    tensors: dict[str, torch.Tensor] = load_file(stem.with_name(f"{stem.name}.safetensors"))
    return Saved(data, tensors)


def damaged(path: Path, cause: str) -> CheckpointError:
    """Say that a checkpoint cannot be used."""
    return CheckpointError(f"the checkpoint '{path}' is damaged", cause=cause, remedy="resume from an earlier one")


# ---------------------------------------------------------------------- removing


def remove(path: Path) -> None:
    """Delete a checkpoint; killed on the way, it leaves a part that counts as none."""
    gone = path.with_name(f".{path.name}.{'0' * 8}")
    shutil.rmtree(gone, ignore_errors=True)
    path.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
