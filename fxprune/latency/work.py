"""Work: what a model does in one run, in classes whose time is in proportion to their amount.

Matrix products are counted in multiply-accumulates, everything else in the numbers it writes, sorted by the groups
they run over: normalising the hidden state is another class than the activation inside a feed-forward block. Amounts
are polynomials in the sizes of the groups, read off the axis types, so they are known for all widths at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch.fx import GraphModule

from fxprune.axes import Axis, Factor, factors_of, resolve
from fxprune.budget import Sizes
from fxprune.contractions import ATTENTION, products_of
from fxprune.errors import AnalysisError
from fxprune.flops import symbols_of
from fxprune.inferred import Use
from fxprune.latency.space import Space
from fxprune.sizes import Symbolic
from fxprune.workload import Workload

aten = torch.ops.aten
TILE = 16  # columns a matrix kernel works on at a time: thin heads leave some of them empty
_Products = dict[tuple[Axis, ...], int]
_FREE = {aten.view.default, aten.reshape.default, aten.unsqueeze.default, aten.dropout.default, aten.alias.default}


@dataclass(frozen=True, slots=True)
class Work:
    """The amounts of all classes as functions of the widths.

    Attributes:
        classes: name -> products of axis sizes, each as many times as given.
        padded: name -> the same, where the last axis is rounded up to whole tiles.
        sizes: reads the axes.
    """

    classes: Mapping[str, _Products]
    padded: Mapping[str, _Products]
    sizes: Sizes

    @classmethod
    def of(cls, traced: GraphModule, space: Space, workload: Workload) -> Work:
        """Read the work of an analysed graph at one batch and length.

        Raises:
            AnalysisError: a size depends on the data.
        """
        groups = space.groups
        symbols = symbols_of(traced, workload.batch, workload.length)
        roles = {groups[name].factor: kind.name for kind in space.kinds for name in kind.groups}
        classes: dict[str, _Products] = {}
        padded: dict[str, _Products] = {}
        for use in groups.inferred.uses:
            if use.node.target is ATTENTION:
                _add_attention(use, classes, padded)
            elif products := products_of(use):
                for axes in products:
                    _add(classes, "products", axes)
            elif use.node.target not in _FREE:
                axes = use.lines[-1].axes
                _add(classes, _signature(axes, roles), axes)
        work = cls(classes, padded, Sizes.of(groups, symbols))
        work.check(symbols)
        return work

    def check(self, symbols: Mapping[str, int]) -> None:
        """Raise AnalysisError if a size is not known."""
        axes = (
            axis for products in (*self.classes.values(), *self.padded.values()) for key in products for axis in key
        )
        found = (factor.size for axis in axes for factor in factors_of(axis))
        unknown = [s for size in found if isinstance(size, Symbolic) for s in size.symbols if s not in symbols]
        if unknown:
            raise AnalysisError(
                "the work of this model depends on its data",
                cause=f"the size {unknown[0]} does not follow from batch and length",
                remedy="give a target in parameters",
            )

    def amounts(self, counts: Mapping[str, int | np.ndarray], candidates: int = 1) -> np.ndarray:
        """Return (candidates, classes + 1): the amount of each class; the last stands for what no width changes."""
        plain = [self.sizes.products(products, counts) for products in self.classes.values()]  # type: ignore[arg-type]
        tiled = [self._tiled(products, counts) for products in self.padded.values()]
        columns = [np.broadcast_to(np.asarray(column, dtype=np.float64), candidates) for column in (*plain, *tiled)]
        return np.stack([*columns, np.ones(candidates)], axis=1)

    def _tiled(self, products: _Products, counts: Mapping[str, int | np.ndarray]) -> int | np.ndarray:
        total: int | np.ndarray = 0
        for axes, times in products.items():
            *others, last = (self.sizes(axis, counts) for axis in axes)  # type: ignore[arg-type]
            total = total + times * prod(others) * (-(-last // TILE) * TILE)
        return total


def _add_attention(use: Use, classes: dict[str, _Products], padded: dict[str, _Products]) -> None:
    """Scores that go through a softmax, the product that makes them, and the one that mixes the values."""
    scores, mixed = products_of(use)
    *rest, keys = scores
    inner = rest.pop()
    _add(classes, "scores", (*rest, keys))
    _add(classes, "queries x keys", (*rest, keys, inner))
    *rows, values, columns = mixed
    _add(padded, "weights x values", (*rows, columns, values))


def _add(classes: dict[str, _Products], name: str, axes: Sequence[Axis]) -> None:
    key = tuple(axis for axis in map(resolve, axes) if axis)
    products = classes.setdefault(name, {})
    products[key] = products.get(key, 0) + 1


def _signature(axes: Sequence[Axis], names: Mapping[Factor, str]) -> str:
    """Name a class of pointwise work by the groups it runs over."""
    held = sorted({names[factor] for axis in axes for factor in factors_of(axis) if factor in names})
    return f"numbers over {' and '.join(held)}" if held else "numbers no width changes"
