"""When units go, when they are only zeroed, and how they come back."""

from __future__ import annotations

import pytest
import torch
from distilling import batches, distiller, parameters, trained

from fxprune.distillation.config import DistillConfig, ScheduleConfig
from fxprune.distillation.loop import Distiller
from fxprune.errors import UsageError
from fxprune.units import axis_mask


def schedule(**fields: object) -> ScheduleConfig:
    return ScheduleConfig(**{"start": 0.1, "end": 0.8, "interval": 2} | fields)  # type: ignore[arg-type]


def sizes(found: Distiller) -> dict[str, int]:
    return {name: found.student.groups[name].size for name in found.cutter.final}


def silent_weights(found: Distiller) -> list[float]:
    """The largest weight of each silent group, over everything its units hold."""
    groups, kept = found.student.groups, found.student.ledger.kept(found.cutter.silent)
    largest = []
    for factor in kept.units:
        for member in groups.by_factor[factor].members:
            tensor = found.student.traced.get_parameter(member.tensor)
            gone = torch.nonzero(~axis_mask(groups.inferred.tensors[member.tensor][member.axis], kept))[:, 0]
            largest.append(float(tensor.index_select(member.axis, gone).detach().abs().max()))
    return largest


def test_rewrites_come_at_every_nth_cut_and_at_the_end() -> None:
    steps = {}
    for every in (1, 2, 3, 0):
        cutter = distiller("bert", max_steps=20, schedule=schedule(rewrite_every=every)).cutter
        steps[every] = [step for step in range(1, 21) if cutter.rewrites(step)]
        assert [step for step in range(1, 21) if cutter.due(step)] == [*range(2, 17, 2)]
    assert steps == {1: [*range(2, 17, 2)], 2: [4, 8, 12, 16], 3: [6, 12, 16], 0: [20]}


@pytest.mark.parametrize("name", ["encoder"])
@pytest.mark.parametrize("options", [{"rewrite_every": 3}, {"rewrite_every": 0}, {"revive": True}])
def test_the_target_is_reached_however_it_is_gone_to(name: str, options: dict) -> None:
    found, history, cuts = trained(name, 20, schedule=schedule(**options))
    assert sizes(found) == found.cutter.final
    assert not found.cutter.silent
    assert cuts
    assert history[-1]["hidden"] > 0


def test_masks_leave_the_student_as_large_as_it_was_until_the_last_step() -> None:
    found = distiller("bert", max_steps=20, schedule=schedule(rewrite_every=0))
    stream, dense = batches(found), found.teacher.num_parameters()
    for step in range(1, 20):
        found.step(next(stream))
        assert found.student.traced.num_parameters() == dense
        assert found.cutter.was_cut is (step >= 4)
        assert max(silent_weights(found), default=0.0) == 0.0  # the update does not bring them back
    assert {name: int(mask.sum()) for name, mask in found.cutter.silent.items() if mask.ndim == 1}.items() <= (
        found.cutter.final.items()
    )
    found.step(next(stream))
    assert sizes(found) == found.cutter.final


def test_masked_units_do_not_return_without_revival() -> None:
    found = distiller("bert", max_steps=20, importance="random", schedule=schedule(rewrite_every=0))
    stream, before = batches(found), {}
    for _ in range(19):
        found.step(next(stream))
        for name, mask in before.items():
            assert not (found.cutter.silent[name] & ~mask).any()
        before = dict(found.cutter.silent)


def test_with_revival_units_return_and_train_on() -> None:
    found = distiller("bert", max_steps=20, importance="random", schedule=schedule(revive=True, rewrite_every=0))
    stream, before, returned = batches(found), {}, 0
    for step in range(1, 17):
        found.step(next(stream))
        if step in (7, 9, 11):  # between two cuts
            assert min(silent_weights(found)) > 0.0
        returned += sum(int((found.cutter.silent[name] & ~mask).sum()) for name, mask in before.items())
        before = dict(found.cutter.silent)
    assert returned > 0


@pytest.mark.parametrize("importance", ["sensitivity", pytest.param("platon", marks=pytest.mark.slow)])
def test_a_unit_that_went_by_mistake_earns_its_place_again(importance: str) -> None:
    """Its score of before is forgotten; what it has learned since is all that counts."""
    way = schedule(interval=20, rewrite_every=3, revive=True)  # many steps from cut to cut: it starts from zero
    found = distiller("bert", max_steps=200, importance=importance, learning_rate=3e-3, schedule=way)
    stream, group, cutter = batches(found), "bert.encoder.layer.0.inner", found.cutter
    while group not in cutter.silent:
        found.step(next(stream))
    best = int(cutter.scores.value[group].argmax())
    worst = int((~cutter.silent[group]).nonzero()[0, 0])
    cutter.silent[group][[best, worst]] = torch.tensor([False, True])
    cutter._silence(reviving=True)
    for scores in [cutter.scores.mean, *([cutter.scores.spread] if importance == "platon" else [])]:
        scores[group][best] = 0.0
    while found.done < 60:
        found.step(next(stream))
    assert cutter.rewrites(60)
    assert best in found.student.ledger.left(group)
    assert len(found.student.ledger.left(group)) < cutter.dense[group]


def test_after_the_schedule_zeroed_units_stay_so() -> None:
    found = distiller("bert", max_steps=20, schedule=schedule(revive=True, rewrite_every=0))
    stream = batches(found)
    for step in range(1, 20):
        found.step(next(stream))
        assert step < 16 or max(silent_weights(found)) == 0.0


def test_one_rewrite_a_cut_is_what_it_was_without_the_option() -> None:
    first, second = trained("bert", 12, schedule=schedule()), trained("bert", 12, schedule=schedule(rewrite_every=1))
    assert first[1:] == second[1:]
    assert all(torch.equal(value, parameters(second[0])[name]) for name, value in parameters(first[0]).items())


@pytest.mark.parametrize("options", [{"target_params": "40%"}, {"target_params": None, "target_flops": "50%"}])
@pytest.mark.parametrize("way", [schedule(), schedule(rewrite_every=3)])
def test_under_a_global_allocation_the_budget_follows_the_schedule(options: dict, way: ScheduleConfig) -> None:
    found = distiller("bert", max_steps=20, allocation="global", schedule=way, **options)
    spread, stream, before = found.cutter.final, batches(found), found.cutter.dense
    for step in range(1, 21):
        found.step(next(stream))
        now = {name: found.student.groups[name].size for name in before}
        assert all(now[name] <= size for name, size in before.items())
        before = now
        if found.cutter.rewrites(step):
            bound = spread.target + round((spread.total - spread.target) * found.cutter.left(step))
            assert 0.93 * bound <= spread.cost.count({}) <= bound
    assert spread.cost.count({}) <= spread.target
    assert not found.cutter.silent
    shares = [size / found.cutter.dense[name] for name, size in now.items()]
    assert 0.1 <= min(shares) < 0.5 * max(shares)  # not the same everywhere


def test_a_schedule_too_short_for_revival_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no unit could return between step 1 and step 8 with 5 steps between cuts"):
        DistillConfig(target_params="40%", max_steps=10, schedule=ScheduleConfig(end=0.8, revive=True))
    with pytest.raises(UsageError, match="no unit could return"):
        DistillConfig(target_params="40%", max_steps=99, schedule=ScheduleConfig(kind="one-shot", revive=True))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rewrite_every": -1}, "rewrite_every is -1"),
        ({"rewrite_every": 1, "revive": True}, "units that are cut out at once cannot return"),
    ],
)
def test_a_schedule_that_cannot_be_meant_is_refused(fields: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ScheduleConfig(**fields)
