"""Agreement of two precisions: error, cosine, and the same largest logit."""

from __future__ import annotations

import pytest
import torch

from fxprune.deploy.agreement import agreement
from fxprune.errors import DeployError


def test_equal_outputs_agree_wholly():
    same = {"logits": torch.randn(2, 3, 5), "hidden": torch.zeros(2, 4), "ids": torch.ones(2, dtype=torch.int64)}
    found = agreement([(same, same)])
    assert (found.max_error, found.cosine, found.top1) == (0.0, 1.0, 1.0)


def test_the_worst_output_counts_and_runs_are_taken_together():
    near = {"a": torch.tensor([[1.0, 0.0]]), "logits": torch.tensor([[1.0, 2.0]])}
    turned = {"a": torch.tensor([[0.0, 1.0]]), "logits": torch.tensor([[3.0, 2.0]])}
    found = agreement([(near, near), (turned, near)])
    assert found.cosine == 0.5  # of a: 1 and 0
    assert found.top1 == 0.5
    assert found.max_error == 1.0


def test_without_logits_there_is_no_top1():
    assert agreement([({"x": torch.ones(2)}, {"x": torch.ones(2)})]).top1 is None


def test_other_shapes_are_refused():
    with pytest.raises(DeployError, match="the output 'x' has another shape"):
        agreement([({"x": torch.ones(2)}, {"x": torch.ones(3)})])
