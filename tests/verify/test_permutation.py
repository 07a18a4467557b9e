from __future__ import annotations

import torch
from models import inputs_of, traced_of

from fxprune.axes import Concat, Factor
from fxprune.groups import analyse
from fxprune.verify.permutation import order_of, permutation_error, shuffle

HEADS, DIM = Factor(2), Factor(3)
ORDERS = {HEADS: torch.tensor([1, 0]), DIM: torch.tensor([2, 0, 1])}


def test_each_factor_of_a_product_moves_on_its_own() -> None:
    assert order_of((HEADS, DIM), ORDERS).tolist() == [5, 3, 4, 2, 0, 1]
    assert order_of((DIM, HEADS), ORDERS).tolist() == [5, 4, 1, 0, 3, 2]


def test_parts_of_a_concat_stay_where_they_are() -> None:
    assert order_of((Concat(((DIM,), (), (HEADS,))),), ORDERS).tolist() == [2, 0, 1, 3, 5, 4]
    halves = (HEADS, Concat(((DIM,), (DIM,))))
    assert order_of(halves, ORDERS).tolist() == [8, 6, 7, 11, 9, 10, 2, 0, 1, 5, 3, 4]


def test_a_factor_that_stands_twice_moves_twice() -> None:
    assert order_of((HEADS, HEADS), ORDERS).tolist() == [3, 2, 1, 0]


def test_factors_that_may_not_move_stay() -> None:
    assert order_of((Factor(2), HEADS), ORDERS).tolist() == [1, 0, 3, 2]
    value = torch.randn(2, 3)
    assert torch.equal(shuffle(value, ((Factor(2),), (DIM,)), ORDERS), value[:, [2, 0, 1]])


def test_the_model_is_not_changed() -> None:
    traced = traced_of("tied_three_ways")
    before = {name: tensor.clone() for name, tensor in traced.state_dict().items()}
    permutation_error(traced, analyse(traced), inputs_of("tied_three_ways"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in traced.state_dict().items())


def test_a_fresh_bias_does_not_hide_a_wrong_coupling() -> None:
    """All biases and norms equal: a bias that does not move with its group would not show."""
    traced = traced_of("bert")
    groups = analyse(traced)
    bias = "bert.encoder.layer.0.intermediate.dense.bias"
    with torch.no_grad():
        traced.get_parameter(bias).zero_()
    groups.inferred.tensors[bias] = ((Factor(48),),)
    assert permutation_error(traced, groups, inputs_of("bert")) > 1e-4
