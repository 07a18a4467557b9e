"""A run that cannot go on leaves its student as it was, and says why."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from distilling import batches, distiller, parameters, trained
from models import ALL
from remembering import remembered
from text import tokenizer, write_jsonl

from fxprune.distillation import loop
from fxprune.distillation.accumulation import NotANumberError
from fxprune.distillation.config import DistillConfig, ScheduleConfig
from fxprune.distillation.rescue import UnfinishedError, bring_back, remember
from fxprune.distillation.run import Run, prepare

FAST = {"max_steps": 8, "batch_size": 4, "length": 16, "held_out_batches": 2, "device": "cpu", "target_params": "40%"}


def test_a_copy_follows_the_cuts() -> None:
    found = distiller("bert", schedule=ScheduleConfig(start=0.1, end=0.9, interval=2))
    stream = batches(found)
    found.step(next(stream))
    before = parameters(found)
    remember(found.optimizer)
    cuts = [found.step(next(stream))[1] for _ in range(6)]
    assert any(cuts)
    assert bring_back(found.optimizer)
    plan = found.student.plan
    for name, value in plan.apply(found.teacher.state_dict()).items():
        assert parameters(found).get(name, value).shape == value.shape
    kept = plan.apply({**found.teacher.state_dict(), **before})
    changed = [name for name, value in parameters(found).items() if not torch.equal(value, kept[name])]
    assert not changed


def test_without_a_copy_nothing_is_brought_back() -> None:
    found, _, _ = trained("bert", 2)
    before = parameters(found)
    assert not bring_back(found.optimizer)
    assert all(torch.equal(value, before[name]) for name, value in parameters(found).items())


def run(tmp_path: Path) -> Run:
    with remembered():
        torch.manual_seed(0)
        config = DistillConfig(**FAST)  # type: ignore[arg-type]
        return prepare(ALL["bert"].build().eval(), tokenizer(), write_jsonl(tmp_path), config)


@pytest.mark.parametrize("broken", [False, True])
def test_the_student_of_the_step_before_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, broken: bool
) -> None:
    """The weights themselves may be what is broken: then those of the last measurement are left."""
    found = run(tmp_path)
    real, seen = loop.check_finite, []

    def check(losses: dict[str, float], step: int) -> None:
        if step == 6:
            if broken:
                with torch.no_grad():
                    next(iter(found.distiller.optimizer.state)).fill_(math.nan)
            seen.append(parameters(found.distiller))
            losses = {**losses, "kl": math.nan, "total": math.nan}
        real(losses, step)

    monkeypatch.setattr(loop, "check_finite", check)
    steps = found.steps()
    with pytest.raises(UnfinishedError, match="the kl loss is nan at step 6") as caught:
        list(steps)
    stopped = caught.value
    assert (stopped.step, stopped.weights_of) == (6, 5)
    assert stopped.to_data() == {"reason": "the kl loss is nan at step 6", "step": 6, "weights_of_step": 5}
    assert len(stopped.result.history) == 5
    assert all(math.isfinite(value) for value in stopped.result.held_out["student"].values())
    left = dict(stopped.result.student.named_parameters())
    same = [torch.equal(value, left[name]) for name, value in seen[0].items() if not value.isnan().any()]
    assert all(same)
    assert len(same) == len(left) - broken


def test_nothing_sound_is_left_where_nothing_ever_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(tmp_path)
    with torch.no_grad():
        found.distiller.student.traced.get_parameter("cls.predictions.bias").fill_(math.nan)
    with pytest.raises(NotANumberError, match="the task loss is nan at step 1"):
        list(found.steps())
