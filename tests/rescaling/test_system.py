"""Equations between logarithms: most are merged, the rest is solved with the smallest unknowns."""

import pytest

from fxprune.rescaling.system import ScaleSystem


def test_equal_unknowns_keep_their_distance():
    system = ScaleSystem()
    system.same("a", "b", 1.0)
    system.same("b", "c", 2.0)
    system.fix("c")
    assert system.solve()
    assert (system["a"], system["b"], system["c"]) == (3.0, 2.0, 0.0)


def test_what_is_fixed_first_fixes_what_follows():
    system = ScaleSystem()
    system.fix("c")
    system.same("c", "b", -2.0)
    system.same("a", "b")
    assert system.solve()
    assert (system["a"], system["b"]) == (2.0, 2.0)


def test_a_contradiction_has_no_solution():
    system = ScaleSystem()
    system.same("a", "b", 1.0)
    system.same("b", "a", 1.0)
    assert not system.solve()
    hidden = ScaleSystem()
    hidden.add({"a": 1.0, "b": 1.0}, 1.0)
    hidden.fix("a")
    hidden.fix("b")
    assert not hidden.solve()


def test_a_sum_is_shared():
    system = ScaleSystem()
    system.add({"a": 1.0, "b": 1.0, "c": -1.0}, 3.0)
    assert system.solve()
    assert [system[key] for key in "abc"] == pytest.approx([1.0, 1.0, -1.0])


def test_sums_that_contradict_each_other_have_no_solution():
    system = ScaleSystem()
    system.add({"a": 1.0, "b": 1.0, "c": 1.0}, 3.0)
    system.add({"a": 2.0, "b": 2.0, "c": 2.0}, 5.0)
    assert not system.solve()


def test_sums_that_say_one_thing_are_merged_into_others():
    system = ScaleSystem()
    system.add({"out": -1.0, "x": 1.0, "w": 1.0})
    system.add({"out": 1.0, "y": 1.0}, 2.0)
    system.fix("x")
    assert system.solve()
    assert system["w"] + system["y"] == pytest.approx(2.0)
    assert system["out"] == pytest.approx(system["w"])


def test_nothing_is_said_of_others():
    system = ScaleSystem()
    assert system.solve()
    assert system["unheard of"] == 0.0
