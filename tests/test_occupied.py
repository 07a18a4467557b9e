"""One run in a folder at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fxprune.errors import UsageError
from fxprune.occupied import Seat

HOLD = "import sys; from pathlib import Path; from fxprune.occupied import Seat; Seat(Path(sys.argv[1])).take(); "


def test_a_second_run_is_refused_with_the_process_of_the_first(tmp_path: Path) -> None:
    with Seat(tmp_path / "out") as first:
        first.check()
        first.take()
        first.take()  # it is held already
        first.check()
        for action in (Seat(tmp_path / "out").check, Seat(tmp_path / "out").take):
            with pytest.raises(
                UsageError, match=rf"another run writes to '.*out': process {os.getpid()} on .*, since 2"
            ):
                action()
    assert list((tmp_path / "out").iterdir()) == []
    Seat(tmp_path / "out").check()


def test_nothing_is_made_by_a_check(tmp_path: Path) -> None:
    Seat(tmp_path / "out").check()
    with Seat(tmp_path / "out"):
        pass
    assert not (tmp_path / "out").exists()


def test_the_lock_of_a_process_that_has_died_is_taken_over(tmp_path: Path) -> None:
    code = HOLD + "import os; os.kill(os.getpid(), 9)"
    died = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert died.returncode == -9
    before = json.loads((tmp_path / ".lock").read_text())
    Seat(tmp_path).check()
    with Seat(tmp_path) as seat:
        seat.take()
        assert seat.stale is not None
        assert seat.stale.startswith(f"process {before['pid']} on ")
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()


def test_a_live_process_is_named(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD + "print('held', flush=True); sys.stdin.read()", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"process {holder.pid} on"):
            Seat(tmp_path).take()
    finally:
        holder.communicate("")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"pid": "\\u001b[31m", "host": "\\u001b]0;x", "started": [1]}', "\xff"]
)
def test_a_lock_that_says_nothing_sensible_is_told_plainly(text: str, tmp_path: Path) -> None:
    with Seat(tmp_path) as seat:
        seat.take()
        (tmp_path / ".lock").write_bytes(text.encode("latin-1"))
        with pytest.raises(UsageError, match="process unknown on") as caught:
            Seat(tmp_path).check()
        assert "\x1b" not in caught.value.message
