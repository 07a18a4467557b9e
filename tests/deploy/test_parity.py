"""Errors between two runs are relative, and nothing that differs passes unseen."""

from __future__ import annotations

import math

import pytest
import torch

from fxprune.deploy.parity import output_tensors, worst_error
from fxprune.errors import DeployError


def test_outputs_are_named_by_key_and_place():
    one = torch.ones(1)
    assert list(output_tensors(one)) == ["output"]
    assert list(output_tensors((one, one))) == ["output.0", "output.1"]
    assert list(output_tensors({"logits": one, "loss": None, "states": (one, one)})) == [
        "logits",
        "states.0",
        "states.1",
    ]


def test_a_cache_among_the_outputs_is_refused():
    with pytest.raises(DeployError, match=r"the output 'past' is a object, not a tensor(.|\n)*use_cache=False"):
        output_tensors({"past": object()})


def test_the_error_is_relative_to_the_largest_value():
    want = torch.tensor([0.001, 0.002])
    assert worst_error({"x": want + 0.0002}, {"x": want}) == pytest.approx(0.1, rel=1e-4)


def test_a_nan_on_one_side_only_is_infinitely_wrong():
    nan, one = torch.tensor([math.nan, 1.0]), torch.tensor([1.0, 1.0])
    assert worst_error({"x": nan}, {"x": one}) == math.inf
    assert worst_error({"x": one}, {"x": nan}) == math.inf
    assert worst_error({"x": nan}, {"x": nan}) == 0


def test_other_names_and_shapes_are_errors():
    one = torch.ones(2)
    with pytest.raises(DeployError, match="the outputs differ in name"):
        worst_error({"x": one}, {"y": one})
    with pytest.raises(DeployError, match=r"the output 'x' has another shape(.|\n)*\(2,\) instead of \(1, 2\)"):
        worst_error({"x": one}, {"x": one[None]})
