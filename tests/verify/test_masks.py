from __future__ import annotations

import torch

from fxprune.axes import Axis, Concat, Factor
from fxprune.sizes import Symbolic
from fxprune.units import Kept, axis_mask
from fxprune.verify.masks import kept_entries, unit_table
from fxprune.verify.symbols import Symbols

HEADS, DIM, OTHER = Factor(2), Factor(3), Factor(2)


def _rows(mask: torch.Tensor | None) -> list[bool]:
    assert mask is not None
    return mask.flatten().tolist()


def test_a_product_is_row_major() -> None:
    table = unit_table((HEADS, DIM), Symbols())
    assert table[HEADS][0].tolist() == [0, 0, 0, 1, 1, 1]
    assert table[DIM][0].tolist() == [0, 1, 2, 0, 1, 2]


def test_a_position_of_a_concat_has_the_units_of_its_part() -> None:
    table = unit_table((Concat(((DIM,), (HEADS,))),), Symbols())
    assert table[DIM][0].tolist() == [0, 1, 2, -1, -1]
    assert table[HEADS][0].tolist() == [-1, -1, -1, 0, 1]


def test_a_factor_may_stand_twice_in_one_product() -> None:
    kept = Kept({HEADS: torch.tensor([True, False])})
    assert len(unit_table((HEADS, HEADS), Symbols())[HEADS]) == 2
    assert _rows(kept_entries(((HEADS, HEADS),), kept, Symbols())) == [True, False, False, False]


def test_nothing_cut_is_no_mask() -> None:
    assert kept_entries(((HEADS, DIM), (OTHER,)), Kept(), Symbols()) is None
    assert kept_entries(((DIM,),), Kept({HEADS: torch.tensor([True, False])}), Symbols()) is None


def test_ragged_units_are_looked_up_under_their_outer_unit() -> None:
    kept = Kept({DIM: torch.tensor([[True, True, False], [False, True, True]])}, {DIM: HEADS})
    assert _rows(kept_entries(((HEADS, DIM),), kept, Symbols())) == [True, True, False, False, True, True]
    assert _rows(kept_entries(((DIM, HEADS),), kept, Symbols())) == [True, False, True, True, False, True]


def test_the_outer_unit_may_stand_on_another_axis() -> None:
    kept = Kept({DIM: torch.tensor([[True, True, False], [False, True, True]])}, {DIM: HEADS})
    mask = kept_entries(((DIM,), (OTHER,), (HEADS,)), kept, Symbols())
    assert mask is not None
    assert mask.shape == (3, 1, 2)
    assert mask[:, 0, 1].tolist() == [False, True, True]


def test_units_on_an_axis_with_the_batch_are_found_once_the_inputs_are_seen() -> None:
    batch = Factor(Symbolic(1, ("s0",)))
    symbols = Symbols()
    symbols.learn(((batch,), (OTHER,)), torch.zeros(3, 2))
    kept = Kept({HEADS: torch.tensor([False, True])})
    assert _rows(kept_entries(((batch, HEADS),), kept, symbols)) == [False, True] * 3


def test_it_agrees_with_the_rewriter_on_nested_axes() -> None:
    inner = Factor(2)
    axis: Axis = (HEADS, Concat(((DIM, inner), (inner,), (), (Factor(2),))), OTHER)
    kept = Kept({HEADS: torch.tensor([False, True]), inner: torch.tensor([True, False])})
    assert _rows(kept_entries((axis,), kept, Symbols())) == axis_mask(axis, kept).tolist()
