"""Proof 3: shapes are what the axis types predict, and tied tensors are still tied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from fxprune.axes import Axis, size_of
from fxprune.groups import Groups
from fxprune.traced import aliases_of, input_values, tensor_of
from fxprune.verify.symbols import Symbols


def structure_faults(slim: GraphModule, groups: Groups, kwargs: Mapping[str, Any]) -> list[str]:
    """Run the slim graph and list every place where it is not what the axis types say; empty means sound.

    Args:
        slim: the graph `groups` describes.
        groups: with the sizes after the cut.
        kwargs: inputs.
    """
    checked = _Shapes(slim, groups)
    with torch.no_grad():
        try:
            checked.run(*input_values(slim, kwargs))
        except Exception as error:
            checked.faults.append(f"the graph does not run: {type(error).__name__}: {str(error).splitlines()[0]}")
    return [*checked.faults, *_untied(slim, groups)]


class _Shapes(Interpreter):
    def __init__(self, slim: GraphModule, groups: Groups) -> None:
        super().__init__(slim)
        self.axes = groups.inferred.axes
        self.faults: list[str] = []
        self.symbols = Symbols()

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        values = [value] if isinstance(value, Tensor) else list(value) if isinstance(value, (list, tuple)) else []
        for axes, result in zip(self.axes.get(n, []), values, strict=False):
            if n.op == "placeholder":
                self.symbols.learn(axes, result)
            if not self._fits(axes, result):
                predicted = ", ".join(str(size_of(axis)) for axis in axes)
                self.faults.append(f"{n.name} has shape {list(result.shape)}, the axis types predict [{predicted}]")
        return value

    def _fits(self, axes: tuple[Axis, ...], result: Tensor) -> bool:
        predicted = [self.symbols(size_of(axis)) for axis in axes]
        return len(predicted) == result.ndim and all(
            size in (None, actual) for size, actual in zip(predicted, result.shape, strict=True)
        )


def _untied(slim: GraphModule, groups: Groups) -> list[str]:
    faults = []
    for name in groups.inferred.tensors:
        for alias in aliases_of(slim, name):
            if tensor_of(slim, alias) is not tensor_of(slim, name):
                faults.append(f"{alias} is no longer tied to {name}")
    return faults
