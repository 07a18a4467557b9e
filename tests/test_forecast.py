"""What is told of a model without weights is what comes of the one with weights."""

from __future__ import annotations

import pytest
import torch
from models import ALL, model_of

import fxprune
from fxprune import api
from fxprune.errors import PlanError
from fxprune.flops import FlopBudget
from fxprune.forecast import forecast
from fxprune.goal import Goal


@pytest.mark.parametrize(
    ("name", "target"),
    [("bert", {"target_params": "50%"}), ("llama", {"target_flops": "40%", "length": 32, "round_to": 2})],
)
def test_a_forecast_from_the_meta_device_is_exact(name: str, target: dict) -> None:
    with torch.device("meta"):
        empty = ALL[name].build().eval()
    inputs = ALL[name].inputs(5, 13)
    traced = fxprune.capture(empty, {key: value.to("meta") for key, value in inputs.items()})
    planned = forecast(traced, api.analyse(traced), Goal(**target), api.constraints(empty, traced))
    slim = fxprune.prune(model_of(name), inputs, **target, importance="magnitude")
    assert planned.params == slim.num_parameters()
    assert planned.flops == FlopBudget.of(slim, slim.meta["groups"], length=planned.length).flops()
    kept = slim.plan.sizes()
    assert planned.widths
    assert {key: kept[key] for key in planned.widths} == {key: after for key, (_, after) in planned.widths.items()}
    assert planned.notes == ()


def test_a_target_that_is_missed_is_said() -> None:
    traced = fxprune.capture(model_of("gpt2"), ALL["gpt2"].inputs(5, 13))
    limits = api.constraints(model_of("gpt2"), traced)
    planned = forecast(traced, api.analyse(traced), Goal(target_params="90%"), limits)
    assert planned.notes == (planned.notes[0],)
    assert "asked for: no allowed widths come nearer" in planned.notes[0]
    assert planned.notes[0].startswith(f"{planned.params / (planned.dense_params * 9 // 10):.1%} of")


def test_a_global_allocation_promises_a_bound() -> None:
    traced = fxprune.capture(model_of("bert"), ALL["bert"].inputs(5, 13))
    groups, limits = api.analyse(traced), api.constraints(model_of("bert"), traced)
    planned = forecast(traced, groups, Goal(target_flops="50%", allocation="global"), limits)
    assert (planned.params, planned.flops) == (None, planned.dense_flops // 2)  # type: ignore[operator]
    assert planned.widths == {}
    with pytest.raises(PlanError, match="out of reach"):
        forecast(traced, groups, Goal(target_flops="0.1%", allocation="global"), limits)
