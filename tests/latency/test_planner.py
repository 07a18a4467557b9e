"""Planning with a stopwatch that needs no time: targets are met, and what is found is the best there is."""

from __future__ import annotations

import pytest
from models import model_of, traced_of
from timing import AT, FakeStopwatch, Widths, planner_of, space_of

from fxprune import api
from fxprune.allocation import solve
from fxprune.budget import Budget
from fxprune.errors import PlanError
from fxprune.latency import LatencyPlan
from fxprune.latency.search import PROPORTION
from fxprune.latency.work import Work

SPACE = space_of("bert")
ROLES = [kind.role for kind in SPACE.kinds]
WORK = Work.of(traced_of("bert"), SPACE, AT)
PARAMS = Budget.of(traced_of("bert"), SPACE.groups)


def takes(widths: Widths) -> float:
    """Products, and attention that is dear by the head."""
    amounts = WORK.sizes.products(WORK.classes["products"], SPACE.counts(widths))
    return 0.2 + amounts * 4e-6 + 0.1 * widths[ROLES.index("heads")]


def dense() -> float:
    return takes(SPACE.dense)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_target_is_met_with_as_many_parameters_as_it_allows(share: float) -> None:
    watch = FakeStopwatch(takes)
    plan = planner_of("bert", watch, SPACE).within(share * dense())
    assert plan.target_ms is not None
    assert 0.9 * plan.target_ms <= plan.measured_ms <= plan.target_ms
    assert plan.met
    assert plan.predicted_ms == pytest.approx(plan.measured_ms, rel=0.05)
    assert watch.really, "what is found is checked on an exported file"
    lead, other = SPACE.families
    every = (
        (*map(int, row), n)
        for row, r in zip(lead.counts, lead.ratios, strict=True)
        for (n,), s in zip(other.counts.tolist(), other.ratios, strict=True)
        if r / PROPORTION <= s <= r * PROPORTION
    )
    best = max(PARAMS.count(SPACE.counts(widths)) for widths in every if takes(widths) <= 0.97 * plan.target_ms)
    assert PARAMS.count(plan.counts) >= 0.93 * best


@pytest.mark.parametrize("bias", [0.75, 1.3])
def test_where_exported_files_take_another_time_the_target_is_met_all_the_same(bias: float) -> None:
    watch = FakeStopwatch(takes, bias=bias)
    target = 0.5 * dense()
    plan = planner_of("bert", watch, SPACE).within(target)
    assert 0.9 * target <= plan.measured_ms <= target
    assert 1 < len(watch.really) <= 3


def test_a_target_below_the_floor_says_the_floor() -> None:
    floor = takes(SPACE.narrowest)
    with pytest.raises(PlanError, match=r"no widths of this model take 0\.1 ms at 2x16") as caught:
        planner_of("bert", FakeStopwatch(takes), SPACE).within(0.1)
    assert f"take {floor:.2f} ms" in str(caught.value.cause)


def test_a_target_above_the_dense_model_says_what_that_takes() -> None:
    with pytest.raises(PlanError, match="there is nothing to do for 1000 ms") as caught:
        planner_of("bert", FakeStopwatch(takes), SPACE).within(1000.0)
    assert f"the dense model takes {dense():.2f} ms" in str(caught.value.cause)


def fastest(watch: FakeStopwatch, target: int) -> LatencyPlan:
    limits = api.constraints(model_of("bert"), traced_of("bert"))
    return planner_of("bert", watch, SPACE).fastest(PARAMS, target, solve(PARAMS, SPACE.groups, target, limits))


def test_of_equal_size_the_fastest_is_taken_and_has_few_heads_where_heads_are_dear() -> None:
    target = PARAMS.count({}) // 2
    plan = fastest(FakeStopwatch(takes), target)
    assert 0.99 * target <= PARAMS.count(plan.counts) <= target
    lead, other = SPACE.families
    every = [
        (*map(int, row), n)
        for row, r in zip(lead.counts, lead.ratios, strict=True)
        for (n,), s in zip(other.counts.tolist(), other.ratios, strict=True)
        if r / PROPORTION <= s <= r * PROPORTION
    ]
    near = [w for w in every if 0.99 * target <= PARAMS.count(SPACE.counts(w)) <= target]
    assert plan.measured_ms <= 1.05 * min(map(takes, near))
    assert plan.target_ms is None
    assert plan.met is None


def test_where_nothing_is_faster_the_uniform_cut_stays() -> None:
    target = PARAMS.count({}) // 2
    plan = fastest(FakeStopwatch(lambda widths: 5.0 - 0.1 * widths[ROLES.index("heads")]), target)
    assert plan.uniform_ms is not None
    assert plan.measured_ms <= plan.uniform_ms


def test_it_says_what_each_cut_bought_and_which_bought_nothing() -> None:
    plan = planner_of("bert", FakeStopwatch(takes), SPACE).within(0.5 * dense())
    bought = {cut.groups: cut for cut in plan.cuts}
    kinds = {kind.name: n for kind, n in zip(SPACE.kinds, SPACE.widths(plan.counts), strict=True)}
    assert set(bought) == {kind.name for kind in SPACE.kinds if kinds[kind.name] < kind.size}
    assert [cut.ms for cut in plan.cuts] == sorted((cut.ms for cut in plan.cuts), reverse=True)
    inner = bought["bert.encoder.layer.*.inner"]
    assert inner.params > 0
    assert inner.ms > 0
    facts = plan.facts()
    assert facts["latency_target"]["met"] is True
    assert len(facts["cuts"]) == len(bought)


def test_a_cut_that_costs_no_time_is_named() -> None:
    plan = planner_of("bert", FakeStopwatch(lambda w: 1.0 + w[ROLES.index("hidden")] / 10), SPACE).within(2.5)
    assert any("bought less than 1 %" in note and ".inner" in note for note in plan.notes())
