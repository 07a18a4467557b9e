"""The search finds what trying everything finds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import pytest
from timing import space_of

from fxprune.latency.search import PROPORTION, Candidates, evenness, widest
from fxprune.latency.space import Family, Kind, Space


def family(name: str, size: int, *, heads: bool = False) -> Family:
    """A family of one width, or of heads x dims."""
    if not heads:
        kinds: tuple[Kind, ...] = (Kind(name=name, role="inner", groups=(name,), size=size),)
        rows = [(n / size, (n,)) for n in range(size, 0, -1)]
    else:
        kinds = tuple(
            Kind(name=f"{name}.{role}", role=role, groups=(f"{name}.{role}",), size=n)
            for role, n in (("heads", 4), ("qk", size))
        )
        every = [(h * d / (4 * size), (h, d)) for h in range(4, 0, -1) for d in range(size, 0, -1)]
        rows = sorted(every, key=lambda row: -row[0])
    return Family(kinds=kinds, counts=np.array([counts for _, counts in rows]), ratios=np.array([r for r, _ in rows]))


def space(*families: Family) -> Space:
    return Space(SimpleNamespace(), families)  # type: ignore[arg-type]


def cost(counts: Mapping[str, int | np.ndarray], candidates: int) -> np.ndarray:
    """Heads are dear, and everything is in proportion to the width of a."""
    width = counts["a.heads"] * counts["a.qk"]
    rest = sum(value for name, value in counts.items() if not name.startswith("a."))
    return np.broadcast_to(np.asarray(width * (10 + rest) + 40 * counts["a.heads"], dtype=float), candidates)


def size(widths: tuple[int, ...]) -> int:
    return widths[0] * widths[1] * (20 + sum(widths[2:]))


def brute_force(where: Space, bound: float, proportion: float) -> int:
    """The largest size that fits, over every combination of options in proportion."""
    best = 0
    for places in itertools.product(*(range(len(each.ratios)) for each in where.families)):
        ratios = [float(each.ratios[i]) for each, i in zip(where.families, places, strict=True)]
        widths = tuple(int(n) for each, i in zip(where.families, places, strict=True) for n in each.counts[i])
        fits = all(ratios[0] / proportion - 1e-9 <= r <= ratios[0] * proportion + 1e-9 for r in ratios[1:])
        if fits and float(cost(where.counts(widths), 1)[0]) <= bound:
            best = max(best, size(widths))
    return best


@pytest.mark.parametrize("share", [0.1, 0.2, 0.35, 0.6, 0.9])
@pytest.mark.parametrize("proportion", [1.2, 1.5, 3.0])
def test_with_one_other_family_nothing_better_exists(share: float, proportion: float) -> None:
    where = space(family("a", 8, heads=True), family("b", 24))
    bound = share * float(cost(where.counts(where.dense), 1)[0])
    found = widest(where, cost, bound, proportion)
    best = max(size(tuple(map(int, row))) for row in found.widths)
    assert best == brute_force(where, bound, proportion)


@pytest.mark.parametrize("share", [0.15, 0.4, 0.8])
def test_with_several_it_comes_within_five_per_cent(share: float) -> None:
    where = space(family("a", 6, heads=True), family("b", 12), family("c", 10))
    bound = share * float(cost(where.counts(where.dense), 1)[0])
    best = max(size(tuple(map(int, row))) for row in widest(where, cost, bound).widths)
    assert best >= 0.95 * brute_force(where, bound, PROPORTION)


def test_everything_that_is_found_fits_and_is_an_option() -> None:
    where = space_of("bert")

    def parameters(counts: Mapping[str, int | np.ndarray], candidates: int) -> np.ndarray:
        return np.broadcast_to(np.asarray(sum(counts.values()), dtype=float), candidates)

    bound = 0.5 * float(parameters(where.counts(where.dense), 1)[0])
    found = widest(where, parameters, bound)
    assert len(found.widths)
    assert (found.bound <= bound).all()
    for row in found.widths:
        start = 0
        for each in where.families:
            part = row[start : start + len(each.kinds)]
            assert (each.counts == part).all(1).any()
            start += len(each.kinds)


def test_nothing_is_found_where_nothing_fits() -> None:
    where = space(family("a", 8, heads=True), family("b", 24))
    assert len(widest(where, cost, 1.0).widths) == 0


def test_one_family_alone_is_searched_too() -> None:
    where = space(family("a", 8, heads=True))
    found = widest(where, cost, 200.0)
    assert max(int(h * d) for h, d in found.widths) == max(
        h * d for h in range(1, 5) for d in range(1, 9) if 10 * h * d + 40 * h <= 200
    )


def test_of_choices_as_good_the_most_even_is_taken() -> None:
    where = space(family("a", 8, heads=True), family("b", 24))
    widths = np.array([[4, 2, 6], [2, 4, 12], [1, 8, 24]])
    found = Candidates(widths, np.zeros(3), evenness(where, widths))
    assert found.best(np.array([1.0, 1.005, 1.2]), slack=0.01) == 1
    assert found.best(np.array([1.0, 1.05, 1.2]), slack=0.01) == 0
    assert evenness(where, np.array([[2, 4, 12]]))[0] == pytest.approx(0.0)
