"""Models that are timed in turn wait for one another's threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fxprune.deploy import resting


class Process:
    """A clock, and a process whose threads are busy for a while."""

    def __init__(self, busy: float) -> None:
        self.now, self.busy = 0.0, busy

    def used(self) -> float:
        return min(self.now, self.busy)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(params=[0.0, 0.05, 9.0])
def process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    made = Process(request.param)
    monkeypatch.setattr(resting, "perf_counter", lambda: made.now)
    monkeypatch.setattr(resting, "process_time", made.used)
    monkeypatch.setattr(resting, "sleep", made.sleep)
    return made


def test_a_rest_ends_when_no_thread_works_or_after_a_while(process: Process) -> None:
    resting.rest()
    end = min(process.busy, resting._LONGEST)
    assert end <= process.now <= end + 2 * resting._LOOK
