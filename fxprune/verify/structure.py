"""Proof 3: shapes are what the axis types predict, and tied tensors are still tied."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from fxprune.axes import Axis, size_of
from fxprune.groups import Groups
from fxprune.sizes import Size, Symbolic
from fxprune.traced import aliases_of, tensor_of


def structure_faults(slim: GraphModule, groups: Groups, kwargs: Mapping[str, Any]) -> list[str]:
    """Run the slim graph and list every place where it is not what the axis types say; empty means sound.

    Args:
        slim: the graph `groups` describes.
        groups: with the sizes after the cut.
        kwargs: inputs.
    """
    names = [node.target for node in slim.graph.nodes if node.op == "placeholder"]
    checked = _Shapes(slim, groups)
    with torch.no_grad():
        try:
            checked.run(*[kwargs[str(name)] for name in names])
        except Exception as error:
            checked.faults.append(f"the graph does not run: {type(error).__name__}: {str(error).splitlines()[0]}")
    return [*checked.faults, *_untied(slim, groups)]


class _Shapes(Interpreter):
    def __init__(self, slim: GraphModule, groups: Groups) -> None:
        super().__init__(slim)
        self.axes = groups.inferred.axes
        self.faults: list[str] = []
        self.symbols: dict[str, int] = {}  # batch and length, read off the inputs

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        values = [value] if isinstance(value, Tensor) else list(value) if isinstance(value, (list, tuple)) else []
        for axes, result in zip(self.axes.get(n, []), values, strict=False):
            if n.op == "placeholder":
                self._learn(axes, result)
            if not self._fits(axes, result):
                predicted = ", ".join(str(size_of(axis)) for axis in axes)
                self.faults.append(f"{n.name} has shape {list(result.shape)}, the axis types predict [{predicted}]")
        return value

    def _learn(self, axes: tuple[Axis, ...], result: Tensor) -> None:
        for axis, actual in zip(axes, result.shape, strict=True):
            size = size_of(axis)
            if isinstance(size, Symbolic) and len(size.symbols) == 1:
                self.symbols.setdefault(size.symbols[0], actual // size.coefficient)

    def _fits(self, axes: tuple[Axis, ...], result: Tensor) -> bool:
        predicted = [self._value(size_of(axis)) for axis in axes]
        return len(predicted) == result.ndim and all(
            size in (None, actual) for size, actual in zip(predicted, result.shape, strict=True)
        )

    def _value(self, size: Size) -> int | None:
        """Return the size in this run; None if it is made of symbols the inputs do not show."""
        if isinstance(size, int):
            return size
        known = [self.symbols.get(symbol) for symbol in size.symbols]
        return None if None in known else size.coefficient * prod(n for n in known if n is not None)


def _untied(slim: GraphModule, groups: Groups) -> list[str]:
    faults = []
    for name in groups.inferred.tensors:
        for alias in aliases_of(slim, name):
            if tensor_of(slim, alias) is not tensor_of(slim, name):
                faults.append(f"{alias} is no longer tied to {name}")
    return faults
