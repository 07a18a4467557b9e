"""Plans made ahead of the cut, of captured models and of models without weights."""

from __future__ import annotations

import pytest
import torch
from models import ALL, inputs_of, model_of, traced_of

import fxprune
from fxprune.errors import ScoreError


def test_a_plan_made_ahead_is_the_plan_of_the_cut() -> None:
    model, inputs = model_of("bert"), inputs_of("bert")
    plan = fxprune.make_plan(model, inputs, ratio=0.5)
    assert plan == fxprune.prune(model, inputs, ratio=0.5).plan
    assert fxprune.prune(model, inputs, plan=plan).plan == plan


def test_a_captured_model_is_planned_and_cut_without_another_capture() -> None:
    model, inputs = model_of("bert"), inputs_of("bert")
    traced = fxprune.capture(model, inputs)
    before = traced.num_parameters()
    plan = fxprune.make_plan(traced, ratio=0.5)
    slim = fxprune.prune(traced, ratio=0.5, verify=True)
    assert traced.num_parameters() == before
    assert slim.plan == plan == fxprune.make_plan(model, inputs, ratio=0.5)


def test_a_model_on_the_meta_device_is_planned_without_weights() -> None:
    with torch.device("meta"):
        model = ALL["llama"].build()
        inputs = ALL["llama"].inputs(5, 13)
    inputs = {name: tensor.to("meta") for name, tensor in inputs.items()}
    groups = fxprune.analyse(fxprune.capture(model, inputs))
    assert groups.to_text() == fxprune.analyse(traced_of("llama")).to_text()
    plan = fxprune.make_plan(model, inputs, ratio=0.5, importance="random")
    real = fxprune.prune(model_of("llama"), inputs_of("llama"), plan=plan, verify=True)
    assert real.certificate.holds
    with pytest.raises(ScoreError, match="'magnitude' reads the weights"):
        fxprune.make_plan(model, inputs, ratio=0.5)
