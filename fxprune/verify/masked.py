"""Proof 2: the slim graph computes what the dense graph computes with the removed units zeroed.

The dense graph is interpreted node by node. Removed units are zeroed in parameters and in every value, and ops that
normalise run over the kept positions only. Nothing here uses the rewriter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import GraphModule, Interpreter, Node

from fxprune.axes import Axis, resolve
from fxprune.groups import Groups
from fxprune.traced import input_values
from fxprune.units import Kept
from fxprune.verify.compare import output_axes, output_tensors, relative_error, same_draws
from fxprune.verify.masks import kept_entries
from fxprune.verify.normalising import NORMALISING
from fxprune.verify.symbols import Symbols

_RESHAPED = {torch.ops.aten.view.default: torch.ops.aten.reshape.default}


class MaskedDense(Interpreter):
    """Runs a dense graph with the removed units masked.

    Args:
        dense: the graph before the cut.
        groups: its groups, with dense sizes.
        kept: which units stay.
    """

    def __init__(self, dense: GraphModule, groups: Groups, kept: Kept) -> None:
        super().__init__(dense)
        self.axes = groups.inferred.axes
        self.kept = kept
        self.symbols = Symbols()
        self._masks: dict[tuple[Axis, ...], Tensor | None] = {}  # the layers of a model share few layouts

    def run_node(self, n: Node) -> Any:
        """Run one node and zero the removed units of its value."""
        mask = self._cut_operand(n) if n.target in NORMALISING else None
        if mask is None:
            return self._masked(n, super().run_node(n))
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        return self._masked(n, NORMALISING[n.target](mask.expand(args[0].shape), *args, **kwargs))

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call one op; views become reshapes, for a masked value may lie otherwise in memory."""
        return super().call_function(_RESHAPED.get(target, target), args, kwargs)

    def _cut_operand(self, node: Node) -> Tensor | None:
        """Return which entries of the first operand stay, if any go."""
        operand = node.args[0]
        assert isinstance(operand, Node)
        return self._mask(self.axes[operand][0])

    def _mask(self, axes: tuple[Axis, ...]) -> Tensor | None:
        layout = tuple(map(resolve, axes))
        if layout not in self._masks:
            self._masks[layout] = kept_entries(layout, self.kept, self.symbols)
        return self._masks[layout]

    def _masked(self, node: Node, value: Any) -> Any:
        results = self.axes.get(node)
        if results is None:
            return value
        values = [value] if isinstance(value, Tensor) else list(value)
        for axes, item in zip(results, values, strict=True):
            self.symbols.learn(axes, item)
        zeroed = [
            _zeroed(item, self._mask(axes), in_place=_writes(node)) for item, axes in zip(values, results, strict=True)
        ]
        return zeroed[0] if isinstance(value, Tensor) else zeroed


def masked_error(dense: GraphModule, slim: GraphModule, groups: Groups, kept: Kept, kwargs: Mapping[str, Any]) -> float:
    """Return the largest relative difference between the masked dense graph and the slim one.

    Args:
        dense: the graph before the cut.
        slim: the graph after it.
        groups: groups of the dense graph, with dense sizes.
        kept: which units stayed.
        kwargs: inputs of both.
    """
    masked = MaskedDense(dense, groups, kept)
    with same_draws():
        expected = output_tensors(masked.run(*input_values(dense, kwargs)))
    with same_draws():
        got = output_tensors(slim(**kwargs))
    pairs = zip(got, expected, output_axes(dense, groups.inferred), strict=True)
    return max(relative_error(new, _kept_only(old, axes, kept, masked.symbols)) for new, old, axes in pairs)


def _kept_only(value: Tensor, axes: tuple[Axis, ...], kept: Kept, symbols: Symbols) -> Tensor:
    """Drop the removed units of an output that was allowed to shrink."""
    for dim, axis in enumerate(axes):
        mask = kept_entries((axis,), kept, symbols)
        if mask is not None:
            value = value.index_select(dim, torch.nonzero(mask)[:, 0])
    return value


def _writes(node: Node) -> bool:
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable


def _zeroed(value: Tensor, mask: Tensor | None, *, in_place: bool) -> Tensor:
    """Zero what is removed; a value that is zero there already stays the view it may be, for ops that write into it."""
    if mask is None:
        return value
    zeroed = torch.where(mask.to(value.device), value, torch.zeros_like(value))
    if in_place:
        return value.copy_(zeroed)
    return value if torch.equal(value, zeroed) else zeroed
