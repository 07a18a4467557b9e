from __future__ import annotations

from typing import Any

import pytest
import torch
from handling import run_exact, targets
from torch import Tensor, nn
from torch.fx import Node

from fxprune.passes import ExplicitSizes, run_passes
from fxprune.tracing import capture

aten = torch.ops.aten


class Applies(nn.Module):
    """Applies a function to (batch, 7, 12) features."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.enter = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.enter(x))


def _captured(function: Any) -> Any:
    return capture(Applies(function), {"x": torch.randn(5, 7, 12)})


INPUTS = {"x": torch.randn(3, 7, 12)}


def _calls(traced: Any, *ops: Any) -> list[Node]:
    return [node for node in traced.graph.nodes if node.target in ops]


@pytest.mark.parametrize(
    ("function", "sizes"),
    [
        (lambda y: y.view(y.shape[0], 7, -1, 4), [7, 3, 4]),
        (lambda y: y.view(y.shape[0], -1, 3, 4), [7, 3, 4]),
        (lambda y: y.transpose(1, 2).reshape(y.shape[0], 2, -1, 7), [2, 6, 7]),
    ],
)
def test_computed_sizes_are_written_down(function: Any, sizes: list[int]) -> None:
    traced = _captured(function)
    (view,) = _calls(traced, aten.view.default, aten.reshape.default)
    run_exact(traced, ExplicitSizes(), INPUTS)
    assert isinstance(view.args[1][0], Node)
    assert list(view.args[1][1:]) == sizes  # type: ignore[index]


def test_the_free_size_may_stay_computed() -> None:
    traced = _captured(lambda y: y.view(-1, 7, 3, 4) * 1.0)
    (view,) = _calls(traced, aten.view.default)
    assert run_passes(traced, [ExplicitSizes()]) is False
    assert list(view.args[1]) == [-1, 7, 3, 4]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("function", "bounds"),
    [
        (lambda y: y[..., 4:], (4, 12)),
        (lambda y: y[..., -4:], (8, 12)),
        (lambda y: y[..., :-4], (0, 8)),
        (lambda y: y[..., -6:-2], (6, 10)),
        (lambda y: y[..., -100:5], (0, 5)),
        (lambda y: y[..., 3:100], (3, 12)),
        (lambda y: y[..., 1::2], (1, 12)),
    ],
)
def test_slices_count_from_the_front(function: Any, bounds: tuple[int, int]) -> None:
    traced = _captured(lambda y: function(y) * 1.0)
    cut = [node for node in _calls(traced, aten.slice.Tensor) if node.args[1] == 2]
    run_exact(traced, ExplicitSizes(), INPUTS)
    assert cut[0].args[2:4] == bounds


def test_slices_of_free_sizes_stay() -> None:
    traced = _captured(lambda y: y[1:] * 1.0)
    (cut,) = _calls(traced, aten.slice.Tensor)
    before = cut.args
    run_passes(traced, [ExplicitSizes()])
    assert cut.args == before


@pytest.mark.parametrize(
    ("function", "sizes"),
    [
        (lambda y: sum(y.chunk(3, -1)), [4, 4, 4]),
        (lambda y: y.chunk(5, -1)[3], [3, 3, 3, 3]),
        (lambda y: y.split(5, -1)[2], [5, 5, 2]),
        (lambda y: y.split([2, 10], 2)[1] * 1.0, None),
    ],
)
def test_every_part_of_a_split_has_a_size_of_its_own(function: Any, sizes: list[int] | None) -> None:
    traced = _captured(function)
    if sizes is None:
        assert run_passes(traced, [ExplicitSizes()]) is False
    else:
        run_exact(traced, ExplicitSizes(), INPUTS)
        (split,) = _calls(traced, aten.split_with_sizes.default)
        assert split.args[1] == sizes
    assert "chunk" not in targets(traced)


def test_a_split_of_a_free_size_stays() -> None:
    traced = _captured(lambda y: y.flatten(0, 1).unflatten(0, (-1, 7)))
    assert run_passes(traced, [ExplicitSizes()]) is False


def test_sizes_given_by_name_are_read_too() -> None:
    traced = _captured(lambda y: y.view(y.shape[0], 7, -1, 4))
    (view,) = _calls(traced, aten.view.default)
    view.args, view.kwargs = view.args[:1], {"size": view.args[1]}
    run_exact(traced, ExplicitSizes(), INPUTS)
    assert view.args[1][2] == 3  # type: ignore[index]
