"""What the two processes of a run do, one of which dies."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from keeping import Kept

from fxprune.distillation.loop import Distiller

FOLDER = "FXPRUNE_TEST_FOLDER"  # where the run is, for processes that are told nothing else


def pair() -> Kept:
    folder = Path(os.environ[FOLDER])
    return Kept(folder / "out", str(folder / "text.jsonl"), options={"dropout": True, "micro_batch": 1})


def dies() -> tuple[float, str]:
    """The second process dies in step 9; what the first one says, and how long after."""
    real, since = Distiller.step, time.monotonic()

    def step(self: Distiller, batch: Any) -> Any:
        nonlocal since
        since = time.monotonic()
        if self.done == 8 and not self.ranks.main:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, batch)

    Distiller.step = step  # type: ignore[method-assign]
    try:
        pair().run(every=3)
    except Exception as error:
        return time.monotonic() - since, f"{type(error).__name__}: {error}"
    return 0.0, "nothing happened"


def goes_on() -> tuple[list[Any], str]:
    """Both are started again."""
    result = pair().resumed(every=3)
    return [step.losses for step in result.history], result.student.plan.digest


def undisturbed() -> tuple[list[Any], str]:
    """Neither dies."""
    run = pair()
    run.folder = run.folder.with_name("whole")
    result = run.run(every=100)
    return [step.losses for step in result.history], result.student.plan.digest
