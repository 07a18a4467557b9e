"""The proofs on models nobody wrote: random chains of the ways transformers reshape, join, cut and mix features."""

from __future__ import annotations

import pytest
import torch
from cutting import Cut
from verify.random_graphs import RandomModel, random_inputs

from fxprune.groups import analyse
from fxprune.passes import CANONICAL, run_passes
from fxprune.tracing import capture
from fxprune.verify.permutation import permutation_error


def _prove(seed: int, length: int) -> int:
    """Prove one random model, cut plainly and raggedly; return how many groups could be cut."""
    torch.manual_seed(seed)
    model = RandomModel(seed, length).double().eval()
    traced = capture(model, random_inputs(5))
    run_passes(traced, CANONICAL)
    groups, inputs = analyse(traced), random_inputs(3)
    assert permutation_error(traced, groups, inputs) < 1e-10
    for ragged in (False, True):
        cut = Cut.of(traced, ragged=ragged)
        assert cut.faults(inputs) == []
        assert cut.masked_error(inputs) < 1e-10
    return len(groups.prunable)


@pytest.mark.parametrize("seed", range(12))
def test_random_model(seed: int) -> None:
    _prove(seed, length=9)


@pytest.mark.slow
def test_many_random_models() -> None:
    assert sum(_prove(seed, length=14) for seed in range(100, 250)) > 300
