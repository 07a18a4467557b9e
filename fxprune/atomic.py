"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


_LEFT_OVER = re.compile(r"\..+\.[0-9a-f]{8}(\.\w+)?|\.(save|latency|onnx|hf)-\w{8}")


def atomic_write(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write `data` to `path` so that a reader sees the old content or the new, never a part.

    Args:
        path: the file; its folder is made if missing.
        data: bytes, or text which is written as UTF-8.
    Raises:
        OSError: the folder is not writable or the disk is full; `path` is then as it was.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path in the same folder to write to; it becomes `path` at the end, or is removed on an error.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_path(folder / "plan.json") as temporary:
    ...     _ = temporary.write_text("{}")
    >>> [file.name for file in folder.iterdir()]
    ['plan.json']
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(target)
    try:
        yield temporary
        _sync_file(temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty folder beside `path`; it takes the place of `path` at the end, or is removed on an error.

    An existing folder at `path` is moved aside first and deleted last: a crash in between loses neither.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = _beside(target), _beside(target)
    temporary.mkdir()
    try:
        yield temporary
        _sync_tree(temporary)
        _swap(temporary, target, old)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def move_files(source: Path, target: Path) -> list[Path]:
    """Move every file below `source` to the same place below `target`, each atomically, and return where they are now.

    Both must lie on one file system. Other files in `target` stay as they are. The last names in the alphabet go first:
    `model.onnx.data` before the `model.onnx` that refers to it, weights before the `config.json` that makes a model.
    """
    moved = []
    for file in sorted((file for file in source.rglob("*") if file.is_file()), reverse=True):
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        _sync_file(file)
        os.replace(file, place)
        moved.append(place)
    for folder in {place.parent for place in moved}:
        _sync_folder(folder)
    return moved


def remove_left_overs(folder: Path) -> None:
    """Delete what a killed process has left of files and folders it had not finished, down to two levels below."""
    for path in [path for pattern in (".*", "*/.*", "*/*/.*") for path in folder.glob(pattern)]:
        if _LEFT_OVER.fullmatch(path.name) and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _beside(target: Path) -> Path:
    """Return a free hidden name in the folder of `target` that keeps its suffix (writers look at it)."""
    return target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")


def _swap(new: Path, target: Path, old: Path) -> None:
    """Put `new` at `target`; what was there goes to `old`, and comes back if that fails."""
    if target.exists():
        os.replace(target, old)
    try:
        os.replace(new, target)
    except OSError:
        if old.exists():
            os.replace(old, target)
        raise


def _sync_tree(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            _sync_file(file)
    _sync_folder(folder)


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; not every system lets a folder be opened, and none needs it to be correct."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
