"""Kills at random moments and at named points: nothing is lost, and the end is the same, bit for bit."""

from __future__ import annotations

import itertools

import pytest

from faults.harness import AFTERWARDS, INSIDE, Trial


def test_runs_that_are_killed_end_as_one_that_never_was(in_python: Trial) -> None:
    """At every named point, and twice or more at a random moment."""
    for points in itertools.zip_longest(INSIDE[::2], INSIDE[1::2], fillvalue=INSIDE[0]):
        in_python.one([in_python.named(point) for point in points])
    began = in_python.nursery.kills
    while in_python.nursery.kills < began + 2:
        in_python.one([in_python.random(1.0) for _ in range(4)])


@pytest.mark.slow
def test_two_hundred_kills(in_python: Trial) -> None:
    start = in_python.nursery.kills
    points = itertools.cycle(INSIDE)
    while in_python.nursery.kills < start + 180:
        in_python.one([in_python.named(next(points)), in_python.random(1.0), in_python.named(next(points))])
        in_python.one([in_python.random(1.5) for _ in range(6)])


@pytest.mark.slow
def test_twenty_kills_of_a_command_most_while_it_writes_what_came_out(at_the_command_line: Trial) -> None:
    trial, start = at_the_command_line, at_the_command_line.nursery.kills
    points = itertools.cycle(AFTERWARDS)
    while trial.nursery.kills < start + 20:
        trial.one([trial.named(next(points)) for _ in range(6)])
        assert not list((trial.folder / f"command-{trial.started}").rglob(".*")), "what was half written is gone"
        trial.one([trial.random(4.0) for _ in range(3)])
