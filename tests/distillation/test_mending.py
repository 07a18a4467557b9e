"""Repairs around the cuts of a distillation."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from distilling import batches, distiller, terms

from fxprune.distillation.config import DistillConfig, ScheduleConfig
from fxprune.distillation.loop import Distiller
from fxprune.distillation.objective import Batch
from fxprune.errors import UsageError

ONE_SHOT = ScheduleConfig(kind="one-shot", start=0.3, end=0.9)


def mending(name: str, steps: int = 10, **options: object) -> tuple[Distiller, list[Batch]]:
    """A distiller that repairs, before its first step, and the batches it will see."""
    found = distiller(name, max_steps=steps, **options)
    stream = batches(found, name)
    found.mender.calibration = list(islice(stream, 6)) if found.config.repair != "none" else []
    return found, list(islice(batches(found, name, seed=1), steps))


def run(found: Distiller, stream: list[Batch]) -> list[int]:
    return [step for step, batch in enumerate(stream, 1) if found.step(batch)[1]]


@pytest.mark.parametrize("name", ["bert", "encoder", "llama"])
def test_every_cut_is_repaired_and_all_that_follows_it_still_does(name: str) -> None:
    found, stream = mending(name, repair="least-squares", repair_interval=1)
    cuts = run(found, stream)
    assert [step for step, _ in found.mender.history] == cuts
    for _, repairs in found.mender.history:
        assert any(item.ridge is not None for item in repairs.done)
        assert repairs.error(1) < repairs.error(0)
        assert repairs.inputs == (5, 1)
    held = dict(found.student.traced.named_parameters())
    in_groups = [parameter for group in found.optimizer.param_groups for parameter in group["params"]]
    assert set(map(id, in_groups)) == set(map(id, held.values()))
    assert all(parameter.requires_grad for parameter in in_groups)
    assert {key: found.student.groups[key].size for key in found.cutter.final} == found.cutter.final


def test_a_head_that_is_computed_at_picked_positions_is_repaired_too() -> None:
    found, stream = mending("llama", 4, repair="least-squares")
    run(found, stream)
    weights = {item.weight for _, repairs in found.mender.history for item in repairs.done}
    assert "lm_head.weight" in weights


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_the_student_is_nearer_to_its_teacher_after_a_repaired_cut(name: str) -> None:
    errors = []
    for repair in ("none", "least-squares"):
        found, stream = mending(name, repair=repair, schedule=ONE_SHOT)
        assert run(found, stream[:3]) == [3]
        errors.append(terms(found, stream[5])["kl"])
    assert errors[1] < 0.9 * errors[0]


def test_repairs_come_at_intervals_and_at_the_end() -> None:
    schedule = ScheduleConfig(kind="linear", start=0.1, end=0.9, interval=2)
    found, stream = mending("bert", 12, repair="least-squares", repair_interval=3, schedule=schedule)
    cuts = run(found, stream)
    assert len(cuts) == 5
    assert [step for step, _ in found.mender.history] == [cuts[0], cuts[3], cuts[4]]
    assert found.mender.notes[0].startswith("repaired after 3 of 5 cuts: held-out error of the weights, on average, ")
    assert found.mender.errors(cuts[4]) == tuple(found.mender.history[-1][1].error(i) for i in (0, 1))
    assert found.mender.errors(cuts[3]) is None


def test_dropout_rests_during_a_repair_and_goes_on_after_it() -> None:
    found, stream = mending("bert", 3, repair="least-squares", dropout=True, schedule=ONE_SHOT)
    seen: list[bool] = []
    repair = found.mender.repairer.repair

    def spied(calibration: list[dict[str, torch.Tensor]]) -> object:
        seen.extend(drops(found))
        return repair(calibration)

    found.mender.repairer.repair = spied  # type: ignore[method-assign,assignment]
    run(found, stream)
    assert seen
    assert not any(seen)
    assert all(drops(found))


def drops(found: Distiller) -> list[bool]:
    nodes = [node for node in found.student.traced.graph.nodes if node.target is torch.ops.aten.dropout.default]
    return [bool(node.args[2]) for node in nodes]


def test_without_a_repair_nothing_is_held_back_or_said() -> None:
    assert DistillConfig(target_ratio=0.5).calibration_batches == 0
    found, stream = mending("bert", 3)
    run(found, stream)
    assert found.mender.history == []
    assert found.mender.notes == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"repair": "least squares"}, "unknown repair 'least squares'; did you mean 'least-squares'?"),
        ({"repair_batches": 1}, "repair_batches is 1"),
        ({"repair_interval": 0}, "repair_interval is 0"),
        ({"repair": "least-squares", "schedule": ScheduleConfig(revive=True)}, "units are zeroed before it"),
    ],
)
def test_settings_of_a_repair_are_checked(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=r"repair|rewrite_every") as caught:
        DistillConfig(target_ratio=0.5, **options)  # type: ignore[arg-type]
    assert said in str(caught.value)
