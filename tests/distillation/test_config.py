"""Settings are checked before anything is loaded."""

from __future__ import annotations

import pytest

from fxprune.distillation.config import DistillConfig, LossWeights, ScheduleConfig
from fxprune.errors import UsageError

NAN = float("nan")


def test_defaults_are_sound() -> None:
    config = DistillConfig(target_params="50%")
    assert config.importance == "sensitivity"
    assert config.schedule.kind == "cubic"
    assert config.loss == LossWeights()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_steps": 0}, "max_steps is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"held_out_batches": -1}, "held_out_batches is -1"),
        ({"length": 4}, "a length of 4 tokens is too short"),
        ({"mask_probability": 0.0}, "the mask probability 0.0 is not between 0 and 1"),
        ({"mask_probability": 1.0}, "the mask probability 1.0 is not between 0 and 1"),
        ({"learning_rate": 0.0}, "the learning rate 0.0 is not positive"),
        ({"learning_rate": NAN}, "the learning rate nan is not positive"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"table_rate": -1.0}, "table_rate is -1.0"),
        ({"warmup": 1.5}, "warmup is 1.5"),
        ({"smoothing": 1.0}, "smoothing is 1.0"),
        ({"importance": "sensitivty"}, r"unknown score 'sensitivty'; did you mean 'sensitivity'\? known: fisher,"),
    ],
)
def test_a_run_that_cannot_be_meant_is_refused(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DistillConfig(target_params="50%", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "cubc"}, r"unknown schedule 'cubc'; did you mean 'cubic'\? known: cubic, linear, one-shot"),
        ({"start": 0.6, "end": 0.5}, "the schedule ends at 0.5 before it starts at 0.6"),
        ({"start": -0.1}, "use 0 <= start < end <= 1"),
        ({"end": 1.1}, "use 0 <= start < end <= 1"),
        ({"interval": 0}, "an interval of 0 steps is none"),
    ],
)
def test_a_schedule_that_cannot_be_meant_is_refused(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ScheduleConfig(**options)


@pytest.mark.parametrize("weight", [-1.0, NAN])
def test_weights_are_not_negative(weight: float) -> None:
    with pytest.raises(UsageError, match=f"the weight of the hidden loss is {weight}"):
        LossWeights(hidden=weight)


def test_some_term_must_have_a_weight() -> None:
    with pytest.raises(UsageError, match="all loss weights are zero"):
        LossWeights(task=0, kl=0, hidden=0, embedding=0, attention=0)
