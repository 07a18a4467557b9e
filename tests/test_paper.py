"""The paper benchmark: its arms are what they say, and its report shows what was measured."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from models import _BERT, ALL, _hugging
from transformers import AutoModelForMaskedLM

import fxprune

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    names = ("common", "paper_arms", "paper_report")

    def load(name: str) -> ModuleType:
        for other in names:
            monkeypatch.delitem(sys.modules, other, raising=False)
        return importlib.import_module(name)

    return load


def test_every_arm_has_a_name_of_its_own_and_settings_that_can_be_meant(benchmark: Any) -> None:
    arms = benchmark("paper_arms").ARMS
    assert len({arm.name for arm in arms}) == len(arms)
    for arm in arms:
        config = arm.config(target_params="40%", max_steps=80)
        assert config.max_steps == 80
    without = [arm.config(target_params="40%").loss for arm in arms if arm.name.startswith("without")]
    assert len(without) == 5
    assert all(
        [weights.task, weights.kl, weights.hidden, weights.embedding, weights.attention].count(0.0) == 1
        for weights in without
    )


def test_a_student_without_half_its_layers_is_a_model_of_its_class(benchmark: Any, tmp_path: Path) -> None:
    """Its blocks are the teacher's own, in order, so it computes what the class does with those weights."""
    torch.manual_seed(0)
    model = _hugging("BertForMaskedLM", **_BERT | {"num_hidden_layers": 6})().eval()
    inputs = ALL["bert"].inputs(5, 13)
    traced = fxprune.capture(model, inputs)
    benchmark("paper_arms").drop_layers(traced)
    traced.save(tmp_path)
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    assert loaded.config.num_hidden_layers == 3
    model.bert.encoder.layer = torch.nn.ModuleList([model.bert.encoder.layer[i] for i in (0, 2, 5)])
    with torch.no_grad():
        torch.testing.assert_close(loaded(**inputs).logits, model(**inputs).logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(traced(**inputs).logits, model(**inputs).logits, atol=1e-5, rtol=1e-5)


def test_fresh_weights_are_those_of_a_new_model(benchmark: Any) -> None:
    model, inputs = ALL["bert"].build().float().eval(), ALL["bert"].inputs(5, 13)
    traced = fxprune.capture(model, inputs)
    benchmark("paper_arms").draw_weights(traced, model, seed=3)
    torch.manual_seed(3)
    fresh = type(model)(model.config).eval()
    with torch.no_grad():
        torch.testing.assert_close(traced(**inputs).logits, fresh(**inputs).logits)


def test_the_report_shows_medians_ranges_and_the_largest_jump(benchmark: Any, tmp_path: Path) -> None:
    records = [record("homotopic", seed, kl) for seed, kl in enumerate((1.0, 3.0, 2.0))]
    records += [record("one-shot", 0, 4.0), {"teacher": "demo", "tasks": {"sst2": {"headline": [0.9]}}}]
    cost = [{"setting": "demo", "steps": 9, "rewritten": 1.0, "masked": 2.0, "ratio": 0.5}]
    module = benchmark("paper_report")
    text = module.report(records, cost, "a machine", tmp_path)
    assert "| homotopic | 800 | 2.000 (1.000-3.000) |" in text
    assert "| one-shot | 800 | 4.000 |" in text
    assert "| teacher | 90.0 | 90.0 |" in text
    assert "| homotopic | 70.0 (70.0-70.0) | 70.0 |" in text
    assert "| demo | 1.0 | 2.0 | 0.50 |" in text
    assert (tmp_path / "discrepancy.svg").read_text().startswith("<?xml")


def test_an_arm_without_the_discrepancy_among_its_losses_is_told(benchmark: Any, tmp_path: Path) -> None:
    other = {**record("without kl", 0, 4.0), "question": "terms"}
    other["held_out"]["student"].pop("kl")
    for point in other["curve"]:
        point.pop("kl")
    text = benchmark("paper_report").report([record("homotopic", 0, 2.0), other], [], "a machine", tmp_path)
    assert "| without kl | 800 | not measured | 4.000 | 4.000 | not measured | 3 | 1 |" in text


def record(arm: str, seed: int, kl: float) -> dict[str, Any]:
    return {
        "setting": {"model": "demo", "target": 800, "steps": 2},
        "arm": arm,
        "question": "path",
        "seed": seed,
        "params": 800,
        "held_out": {"student": {"kl": kl, "task": kl}},
        "curve": [{"step": 0, "kl": 0.0}, {"step": 1, "kl": kl + 1}, {"step": 2, "kl": kl}],
        "cuts": [1],
        "final": {"total": kl},
        "seconds": 3.0,
        "tasks": {"sst2": {"headline": [0.7]}},
    }
