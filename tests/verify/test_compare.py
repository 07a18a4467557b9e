from __future__ import annotations

from collections import OrderedDict

import torch

from fxprune.verify.compare import output_tensors, relative_error


def test_outputs_come_in_order_whatever_their_structure() -> None:
    a, b, ids = torch.zeros(1), torch.ones(2), torch.ones(2, dtype=torch.int64)
    assert [t.shape[0] for t in output_tensors((a, [b, ids], {"x": b, "n": 3}))] == [1, 2, 2]
    assert output_tensors(OrderedDict(a=a, b=None))[0] is not None
    assert len(output_tensors(OrderedDict(a=a, b=None))) == 1


def test_the_error_is_relative_to_the_largest_value() -> None:
    expected = torch.tensor([0.0, -200.0])
    assert abs(relative_error(expected + 2, expected) - 0.01) < 1e-6
    assert relative_error(expected, expected) == 0.0
    assert relative_error(torch.zeros(0), torch.zeros(0)) == 0.0


def test_other_shapes_and_other_infinities_are_infinitely_wrong() -> None:
    infinite = torch.tensor([1.0, -torch.inf])
    assert relative_error(torch.zeros(2), torch.zeros(3)) == float("inf")
    assert relative_error(torch.zeros(2), infinite) == float("inf")
    assert relative_error(infinite, infinite) == 0.0
    assert relative_error(torch.tensor([torch.nan]), torch.tensor([1.0])) == float("inf")
