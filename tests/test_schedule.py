"""The cubic schedule and the counts it leads to."""

from __future__ import annotations

from itertools import pairwise

import pytest

from fxprune.schedule import counts_at, cubic, linear


def test_nothing_is_cut_before_the_start_and_all_from_the_end_on() -> None:
    assert [cubic(step, 10, 20) for step in (0, 9, 10, 20, 21, 1000)] == [1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("step", range(10, 21))
def test_between_it_is_the_formula_of_the_paper(step: int) -> None:
    final = 0.3
    ratio = final + (1 - final) * (1 - (step - 10) / (20 - 10)) ** 3
    assert final + (1 - final) * cubic(step, 10, 20) == pytest.approx(ratio)


def test_it_never_rises_and_cuts_most_at_first() -> None:
    left = [cubic(step, 0, 50) for step in range(60)]
    cuts = [before - after for before, after in pairwise(left)]
    assert min(cuts) >= 0
    assert cuts[:50] == sorted(cuts[:50], reverse=True)


def test_counts_go_from_dense_to_final_and_never_below() -> None:
    dense, final = {"a": 768, "b": 12, "c": 5}, {"a": 228, "b": 1, "c": 5}
    assert counts_at(1.0, dense, final) == dense
    assert counts_at(0.0, dense, final) == final
    ways = [counts_at(cubic(step, 0, 20), dense, final) for step in range(21)]
    for name in dense:
        counts = [way[name] for way in ways]
        assert counts == sorted(counts, reverse=True)


def test_groups_that_are_not_planned_have_no_count() -> None:
    assert counts_at(0.5, {"a": 10, "b": 4}, {"a": 4}) == {"a": 7}


def test_linear_cuts_are_equal() -> None:
    left = [linear(step, 10, 50) for step in range(60)]
    assert left[:11] == [1.0] * 11
    assert left[50:] == [0.0] * 10
    assert [before - after for before, after in pairwise(left[10:51])] == pytest.approx([1 / 40] * 40)
