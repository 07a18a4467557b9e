"""FLOPs of a model as a polynomial in the sizes of its groups, read off the axis types of its matrix products."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import SymInt
from torch.fx import GraphModule

from fxprune.axes import Axis, factors_of, resolve
from fxprune.budget import Sizes
from fxprune.calls import results_of
from fxprune.contractions import products_of
from fxprune.errors import AnalysisError
from fxprune.groups import Groups
from fxprune.sizes import Symbolic, symbol_values


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
        symbols = symbols_of(traced, batch, length)
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

    def share(self, names: Collection[str]) -> FlopBudget:
        """Return the part of the cost that depends on the groups `names`."""
        return FlopBudget(self.sizes.depending(self.products, names), self.sizes)


def length_counted(traced: GraphModule, length: int) -> int | None:
    """Return `length` if FLOPs depend on it: None where no input has a free length, such as pictures."""
    inputs = [value for node in traced.graph.find_nodes(op="placeholder") for value in results_of(node) or []]
    free = any(isinstance(size, SymInt) for value in inputs for size in value.shape[1:])
    return length if free else None


def symbols_of(traced: GraphModule, batch: int, length: int) -> dict[str, int]:
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
