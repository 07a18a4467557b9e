"""Signals: the first asks a run to stop after its step; the second, or one outside of training, stops it at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

CAUGHT = (signal.SIGTERM, signal.SIGINT)


class Halted(KeyboardInterrupt):
    """A signal that ends the process where it stands; all that is on disk is whole.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """Catches SIGTERM and SIGINT while it is entered, in the main thread.

    Attributes:
        patient: whether a first signal waits for the step to end.
        asked: number of that signal, once it came.
    """

    def __init__(self) -> None:
        self.patient = False
        self.asked: int | None = None
        self._before: dict[int, Any] = {}

    def __call__(self) -> int | None:
        """Return the signal that asks the run to stop, if one came."""
        return self.asked

    def end_of_training(self) -> None:
        """From now on, a signal stops at once; one that came just before does too."""
        self.patient = False
        if self.asked is not None:
            raise Halted(self.asked)

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._caught) for number in CAUGHT}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        del frame
        if not self.patient or (self.asked is not None and number == signal.SIGINT):
            raise Halted(number)
        self.asked = number
