"""One run in a folder at a time: a lock that says who holds it, and that a process which has died holds no longer."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fxprune.errors import UsageError

NAME = ".lock"


class Seat:
    """The right to write to a folder, for as long as this process lives or until it is left.

    The operating system ties the lock to the open file, so whatever ends the holder frees it; a file that nobody holds
    is stale, and is taken over.

    Args:
        folder: of a run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / NAME
        self.stale: str | None = None  # who held it before, and is gone
        self._file: int | None = None

    def check(self) -> None:
        """Raise UsageError if another process holds the folder; nothing is written."""
        if self._file is not None or not self.path.exists():
            return
        descriptor = os.open(self.path, os.O_RDWR)
        try:
            self._lock(descriptor)
        finally:
            os.close(descriptor)

    def take(self) -> None:
        """Hold the folder, which is made if missing.

        Raises:
            UsageError: another process holds it.
        """
        if self._file is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                self._lock(descriptor)
                if self._is_there(descriptor):
                    break
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # its holder has removed it since it was opened
        before = _read(descriptor)
        self.stale = _told(before) if before else None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(_who()).encode(), 0)
        self._file = descriptor

    def leave(self) -> None:
        """Give the folder free."""
        if self._file is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Seat:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"another run writes to '{self.folder}': {_told(_read(descriptor))}",
                remedy="choose another --output, or wait for it",
            ) from error

    def _is_there(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(descriptor))
        except FileNotFoundError:
            return False


def _who() -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": now}


def _read(descriptor: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _told(holder: dict[str, Any]) -> str:
    """Say who holds a folder; a file that was edited by hand says nothing else than numbers and plain letters."""
    pid, host, started = (str(holder.get(name, "unknown")) for name in ("pid", "host", "started"))
    clean = ("".join(c for c in text if c.isascii() and (c.isalnum() or c in ".:+-"))[:64] for text in (host, started))
    return "process {} on {}, since {}".format(pid if pid.isdecimal() else "unknown", *clean)
