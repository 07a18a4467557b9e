"""Rest between models that are timed in turn."""

from __future__ import annotations

from time import perf_counter, process_time, sleep

_LOOK, _IDLE = 0.005, 0.2  # seconds between looks at the clock of this process; share of them an idle process may use
_LONGEST = 0.5  # seconds


def rest() -> None:
    """Wait until the threads of this process have gone to sleep.

    Those of ONNX Runtime wait for more work on a busy core for some 50 ms after a run: of a model whose turn begins
    then they would take half its time, on two cores.
    """
    until = perf_counter() + _LONGEST
    while perf_counter() < until:
        used, start = process_time(), perf_counter()
        sleep(_LOOK)
        if process_time() - used < _IDLE * (perf_counter() - start):
            return
