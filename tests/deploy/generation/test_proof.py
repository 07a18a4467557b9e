"""The proof notices a cache that is forgotten or a position that is off."""

from __future__ import annotations

import numpy as np
import pytest
from zoo import LIBRARY

from fxprune.deploy.generation import proof
from fxprune.deploy.generation.proof import stepwise_error, trials
from fxprune.deploy.generation.stepping import Stepper
from fxprune.deploy.ort import open_session


@pytest.fixture(scope="module")
def session(llama):
    return open_session(llama[1] / "onnx" / "decoder_with_past.onnx")


@pytest.fixture(scope="module")
def trial(llama):
    found = trials(llama[0], LIBRARY["llama"].inputs(5, 13)["input_ids"], 24)
    assert [t.pieces for t in found] == [(16, 1, 1, 1, 1, 4), (14, 1, 1, 1, 1, 3), (12,)]
    assert [int((t.mask == 0).sum()) for t in found] == [6, 0, 10]
    assert max(stepwise_error(open_session(llama[1] / "onnx" / "decoder_with_past.onnx"), t) for t in found) < 1e-5
    return found[0]


def test_a_past_that_is_mixed_up_is_noticed(session, trial, monkeypatch):
    class Swapped(Stepper):
        def step(self, ids, mask, past):
            keys = [name for name in past if name.endswith("key")]
            swapped = dict(zip(keys, (past[name] for name in reversed(keys)), strict=True))
            return super().step(ids, mask, {**past, **swapped})

    monkeypatch.setattr(proof, "Stepper", Swapped)
    assert stepwise_error(session, trial) > 1e-3


def test_a_mask_that_is_ignored_is_noticed(session, trial, monkeypatch):
    class Unmasked(Stepper):
        def step(self, ids, mask, past):
            return super().step(ids, np.ones_like(mask), past)

    monkeypatch.setattr(proof, "Stepper", Unmasked)
    assert stepwise_error(session, trial) > 1e-3
