"""Weights that hold several: which rows belong to which part, however the product is taken apart."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fxprune.passes import CANONICAL, run_passes
from fxprune.rescaling.pieces import pieces_of
from fxprune.tracing import capture

HEADS, DIMS = 2, 3
WIDTH = HEADS * DIMS


class Packed(nn.Module):
    """Three values from one product, as `take` takes it apart."""

    def __init__(self, take, *, whole=False):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(3 * WIDTH, 5)), nn.Parameter(torch.randn(3 * WIDTH))
        self.take, self.whole = take, whole

    def forward(self, x):
        made = nn.functional.linear(x, self.weight, self.bias)
        first, *others = self.take(made)
        return (first.exp(), *others, made.tanh()) if self.whole else (first.exp(), *others)


def by_view(made):
    made = made.view(*made.shape[:-1], HEADS, 3, DIMS)
    return made[..., 0, :], made[..., 1, :], made[..., 2, :]


def in_heads(made):
    return made.view(*made.shape[:-1], HEADS, 3 * DIMS).transpose(1, 2).split(DIMS, -1)


def by_index(made):
    made = made.view(*made.shape[:-1], 3 * HEADS, DIMS)
    return made[:, :, [0]], made[:, :, [1]], made[:, :, 2:]


INTERLEAVED = [[0, 1, 2, 9, 10, 11], [3, 4, 5, 12, 13, 14], [6, 7, 8, 15, 16, 17]]


@pytest.mark.parametrize(
    ("take", "rows"),
    [
        (lambda made: made.chunk(3, -1), [list(range(6)), list(range(6, 12)), list(range(12, 18))]),
        (lambda made: (made[..., :4], made[..., 4:7], made[..., 7:]), [[0, 1, 2, 3], [4, 5, 6], list(range(7, 18))]),
        (by_view, INTERLEAVED),
        (in_heads, INTERLEAVED),
        (by_index, [[0, 1, 2], [3, 4, 5], list(range(6, 18))]),
    ],
    ids=["chunks", "slices", "view", "heads", "index"],
)
def test_rows_of_each_part(take, rows):
    found = captured(Packed(take))
    assert sorted(piece.rows.tolist() for piece in set(found.values())) == rows
    assert {piece.places for piece in found.values()} == {(("weight", 0), ("bias", -1))}


def test_parts_that_overlap_are_one():
    found = captured(Packed(lambda made: (made[..., :4], made[..., 2:7], made[..., 7:])))
    assert sorted(piece.rows.tolist() for piece in set(found.values())) == [list(range(7)), list(range(7, 18))]


def test_a_product_that_is_read_as_a_whole_has_no_parts():
    assert not captured(Packed(lambda made: made.chunk(3, -1), whole=True))


class Split(nn.Module):
    """The weight itself is taken apart, as by nn.MultiheadAttention between different inputs."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(7, 5))

    def forward(self, x):
        return nn.functional.linear(x, self.weight[:3]).exp(), nn.functional.linear(x, self.weight[3:])


def test_a_weight_may_be_taken_apart():
    found = captured(Split())
    assert sorted(piece.rows.tolist() for piece in set(found.values())) == [[0, 1, 2], [3, 4, 5, 6]]
    assert all(piece.operand is None for piece in found.values())


class Turned(nn.Module):
    """The outputs are columns of the weight, or rows of what is transposed first."""

    def __init__(self, transposed):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(*((6, 5) if transposed else (5, 6))))
        self.transposed = transposed

    def forward(self, x):
        return (x @ (self.weight.T if self.transposed else self.weight)).split(3, -1)


@pytest.mark.parametrize(("transposed", "dim"), [(True, 0), (False, 1)])
def test_the_outputs_may_be_rows_or_columns(transposed, dim):
    assert {piece.places for piece in captured(Turned(transposed)).values()} == {(("weight", dim),)}


def captured(model):
    traced = capture(model, {"x": torch.randn(4, 7, 5)})
    run_passes(traced, CANONICAL)
    return pieces_of(traced)
