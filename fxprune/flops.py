"""FLOPs of a model as a polynomial in the sizes of its groups, read off the axis types of its matrix products."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import SymInt
from torch.fx import GraphModule, Node

from fxprune.axes import Axis, factors_of, resolve
from fxprune.budget import Sizes
from fxprune.calls import results_of
from fxprune.errors import AnalysisError
from fxprune.groups import Groups
from fxprune.inferred import Line, Use
from fxprune.rules.notation import names_of
from fxprune.sizes import Symbolic, symbol_values

aten = torch.ops.aten
ATTENTION = aten.scaled_dot_product_attention.default
_SUMS = {aten.linear.default, aten.mm.default, aten.bmm.default, aten.matmul.default, aten.mv.default, aten.dot.default}
_ADDED = {aten.addmm.default, aten.baddbmm.default}  # what is added stands before the two factors
_CONVOLUTIONS = {
    getattr(getattr(aten, f"conv{n}d"), overload) for n in (1, 2, 3) for overload in ("default", "padding")
}
_GROUPED = "transformers::grouped_mm_fallback"  # each row times the matrix of its expert


@dataclass(frozen=True, slots=True)
class FlopBudget:
    """Counts the FLOPs of all matrix products of one forward pass: 1 multiply-accumulate = 2 FLOPs.

    Products are linear layers, matrix products, einsum, convolutions and both products of attention; what is pointwise,
    looked up or normalised counts nothing, and neither does an op without a rule. A causal mask saves nothing.
    """

    products: Mapping[tuple[Axis, ...], int]
    sizes: Sizes
    noun: ClassVar[str] = "FLOPs"

    @classmethod
    def of(cls, traced: GraphModule, groups: Groups, *, batch: int = 1, length: int = 128) -> FlopBudget:
        """Read the products of an analysed graph.

        Args:
            traced: captured.
            groups: of it.
            batch: rows of every input.
            length: tokens of every text; sizes that were captured as fixed stay as they are.
        Raises:
            AnalysisError: a size depends on the data.
        """
        products: dict[tuple[Axis, ...], int] = {}
        for use in groups.inferred.uses:
            for axes in products_of(use):
                key = tuple(axis for axis in map(resolve, axes) if axis)
                products[key] = products.get(key, 0) + 2
        symbols = _symbols(traced, batch, length)
        _check_known(products, symbols)
        return cls(products, Sizes.of(groups, symbols))

    def flops(self, counts: Mapping[str, int] | None = None) -> int:
        """Return the FLOPs with `counts` units in the groups; others, and by default all, as they are now."""
        return self.sizes.products(self.products, counts or {})

    def count(self, counts: Mapping[str, int]) -> int:
        """The same, as a `Cost` is asked."""
        return self.flops(counts)

    def narrowest(self, counts: Mapping[str, int]) -> float:
        """Return the fraction that stays of the axis that loses most."""
        return self.sizes.narrowest(self.products, counts)


def products_of(use: Use) -> list[tuple[Axis, ...]]:
    """Return the axes of each matrix product in one call: the size of their product is its multiply-accumulates."""
    target = use.node.target
    operands = [line for line in use.lines if line.source is not use.node]
    result = use.lines[-1]
    if target is ATTENTION:
        keys = use.names.get("k", ())
        return [(*operands[0].axes, keys), (*result.axes, keys)]
    if target in _CONVOLUTIONS:
        return [(*result.axes, *operands[1].axes[1:])]
    if target in _SUMS or _name(use.node) == _GROUPED:
        return [(*result.axes, *_summed(use, operands[:2], result))]
    if target in _ADDED:
        return [(*result.axes, *_summed(use, operands[-2:], result))]
    if target is aten.einsum.default and len(operands) > 1:
        return [(*result.axes, *_summed(use, operands, result))]
    return []


def _summed(use: Use, factors: list[Line], result: Line) -> list[Axis]:
    """Return the axes that stand in several factors and not in the result."""
    held = [dict.fromkeys(name for pattern in line.dims() for name in names_of(pattern)) for line in factors]
    kept = {name for pattern in result.dims() for name in names_of(pattern)}
    names = dict.fromkeys(name for names in held for name in names if name not in kept)
    return [use.names.get(name, ()) for name in names if sum(name in names for names in held) > 1]


def _name(node: Node) -> str:
    return node.target.name() if isinstance(node.target, torch._ops.OpOverload) else ""


def _symbols(traced: GraphModule, batch: int, length: int) -> dict[str, int]:
    """Return the value of the symbolic sizes, from those of the inputs: dimension 0 is the batch, others a length."""
    given: dict[object, int] = {}
    found: list[SymInt] = []
    for node in traced.graph.nodes:
        for value in results_of(node) or []:
            for dim, size in enumerate(value.shape):
                if isinstance(size, SymInt):
                    found.append(size)
                    if node.op == "placeholder" and size.node.expr.is_Symbol:
                        given[size.node.expr] = length if dim else batch
    return symbol_values(found, given)


def _check_known(products: Iterable[tuple[Axis, ...]], symbols: Mapping[str, int]) -> None:
    needed = {symbol: None for axes in products for axis in axes for symbol in _symbols_on(axis)}
    if unknown := [symbol for symbol in needed if symbol not in symbols]:
        raise AnalysisError(
            "the FLOPs of this model depend on its data",
            cause=f"the size {unknown[0]} does not follow from batch and length",
            remedy="give a target in parameters",
        )


def _symbols_on(axis: Axis) -> list[str]:
    sizes = [factor.size for factor in factors_of(axis)]
    return [symbol for size in sizes if isinstance(size, Symbolic) for symbol in size.symbols]
