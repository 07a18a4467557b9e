"""A tiny model, exported and timed in earnest; what it takes is not looked at."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from models import inputs_of, model_of

import fxprune


@pytest.mark.slow
def test_widths_are_timed_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXPRUNE_CACHE", str(tmp_path))
    said: list[str] = []
    model = copy.deepcopy(model_of("bert")).float()
    goal = {"target_params": "60%", "optimise_for": "latency", "at": "4x32", "say": said.append}
    first = fxprune.prune(model, inputs_of("bert"), **goal)  # type: ignore[arg-type]
    assert "exporting the model at two widths, to write it at any" in said
    assert first.latency_plan.measured_ms > 0
    said.clear()
    again = fxprune.prune(model, inputs_of("bert"), **goal)  # type: ignore[arg-type]
    assert again.latency_plan == first.latency_plan
    assert not any("exporting" in text for text in said)
