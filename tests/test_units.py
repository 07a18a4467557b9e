from __future__ import annotations

import torch

from fxprune.axes import Axis, Concat, Factor
from fxprune.units import IndexCache, Kept, axis_mask, positions, shrink, take

HEADS, DIM = Factor(2), Factor(3)


def _kept(*units: tuple[Factor, list[bool]]) -> Kept:
    return Kept({factor: torch.tensor(mask) for factor, mask in units})


def test_positions_name_the_unit_of_every_factor() -> None:
    axis: Axis = (Concat(((HEADS, DIM), (DIM,), ())),)
    assert [(f, u.tolist()) for f, u in positions(axis)] == [
        (HEADS, [0, 0, 0, 1, 1, 1, -1, -1, -1, -1]),
        (DIM, [0, 1, 2, 0, 1, 2, 0, 1, 2, -1]),
    ]


def test_a_cut_removes_every_position_of_a_unit() -> None:
    kept = _kept((DIM, [True, False, True]))
    assert axis_mask((HEADS, DIM), kept).tolist() == [True, False, True] * 2
    halves: Axis = (Concat(((DIM,), (DIM,))),)
    assert axis_mask(halves, kept).tolist() == [True, False, True] * 2
    both = _kept((DIM, [True, False, True]), (HEADS, [False, True]))
    assert axis_mask((HEADS, DIM), both).tolist() == [False, False, False, True, False, True]


def test_a_factor_that_stands_twice_is_cut_twice() -> None:
    kept = _kept((HEADS, [False, True]))
    assert axis_mask((HEADS, HEADS), kept).tolist() == [False, False, False, True]


def test_ragged_units_differ_under_each_outer_unit() -> None:
    kept = Kept({DIM: torch.tensor([[True, True, False], [False, True, True]])}, {DIM: HEADS})
    assert axis_mask((HEADS, DIM), kept).tolist() == [True, True, False, False, True, True]
    middle = Factor(2)
    assert axis_mask((HEADS, middle, DIM), kept).tolist() == [True, True, False] * 2 + [False, True, True] * 2


def test_count_is_per_outer_unit_and_sees_only_those_that_stay() -> None:
    dim = torch.tensor([[True, True, True], [False, True, True]])
    kept = Kept({DIM: dim, HEADS: torch.tensor([False, True])}, {DIM: HEADS})
    assert kept.count(DIM) == 2
    assert kept.count(HEADS) == 1


def test_touches_sees_inside_products_and_concats() -> None:
    kept = _kept((DIM, [True, False, True]))
    assert kept.touches((Concat(((HEADS, DIM), (HEADS,))),))
    assert not kept.touches((HEADS,))
    assert not kept.touches(())


def test_take_slices_every_axis_and_computes_each_layout_once() -> None:
    value = torch.arange(36.0).view(6, 6)
    index = IndexCache(_kept((DIM, [True, False, True])))
    got = take(value, ((HEADS, DIM), (HEADS, DIM)), index)
    rows = [0, 2, 3, 5]
    assert torch.equal(got, value[rows][:, rows])
    assert got.is_contiguous()
    assert index((HEADS, DIM)) is index((HEADS, DIM))
    assert index((HEADS,)) is None
    assert torch.equal(take(value, ((Factor(6),), (Factor(6),)), index), value)


def test_take_copies_what_it_cuts_and_carries_no_gradient() -> None:
    value = torch.randn(3, requires_grad=True)
    got = take(value, ((DIM,),), IndexCache(_kept((DIM, [True, False, True]))))
    assert not got.requires_grad
    got.zero_()
    assert value.detach().all()


def test_shrink_gives_factors_their_new_sizes() -> None:
    heads, dim = Factor(2), Factor(3)
    kept = Kept({dim: torch.tensor([[True, True, False], [False, True, True]]), heads: torch.tensor([True, False])})
    kept.under[dim] = heads
    shrink(kept)
    assert (heads.size, dim.size) == (1, 2)
