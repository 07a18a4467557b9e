"""The cut itself: slice tensors and optimizer state by the kept units, and rewrite the sizes that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.optim import Optimizer

from fxprune.axes import size_of
from fxprune.inference import Inferred, Literal
from fxprune.passes.base import Pass, PassResult
from fxprune.traced import replace_tensor, tensor_of
from fxprune.units import Axes, IndexCache, Kept, shrink, take


@dataclass(frozen=True, repr=False)
class SliceUnits(Pass):
    """Remove units: parameters, buffers, Adam's moments and shape literals shrink together.

    The axis types are updated in place, so the analysis stays valid and no second one is needed.
    Numerics: approximate (the removed units are gone); equal to the masked dense graph.

    Args:
        inferred: the axis types of this very graph.
        kept: what stays.
        optimizers: whose state follows the parameters.
    """

    inferred: Inferred
    kept: Kept
    optimizers: tuple[Optimizer, ...] = ()

    def call(self, gm: GraphModule) -> PassResult:
        index = IndexCache(self.kept)
        swapped: dict[Tensor, tuple[Tensor, Axes]] = {}
        with torch.no_grad():
            for name, axes in self.inferred.tensors.items():
                if any(index(axis) is not None for axis in axes):
                    old = tensor_of(gm, name)
                    new = sliced(old, axes, index)
                    replace_tensor(gm, name, new)
                    swapped[old] = (new, axes)
            move_state(self.optimizers, swapped, index)
        shrink(self.kept)
        for literal in self.inferred.literals:
            _rewrite(literal)
        return PassResult(gm, modified=bool(swapped))

    def ensures(self, gm: GraphModule) -> None:
        for name, axes in self.inferred.tensors.items():
            assert tuple(tensor_of(gm, name).shape) == tuple(map(size_of, axes)), name


def sliced(tensor: Tensor, axes: Axes, index: IndexCache) -> Tensor:
    """Return what stays of a parameter or buffer, as a new one: autograd keeps the old shape of an old one."""
    kept = take(tensor.detach(), axes, index)
    if not isinstance(tensor, nn.Parameter):
        return kept
    parameter = nn.Parameter(kept, requires_grad=tensor.requires_grad)
    if tensor.grad is not None:
        parameter.grad = take(tensor.grad, axes, index)
    return parameter


def move_state(
    optimizers: tuple[Optimizer, ...], swapped: Mapping[Tensor, tuple[Tensor, Axes]], index: IndexCache
) -> None:
    """Hand each optimizer the new parameters, with its state sliced like them: step and slice commute."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["params"] = [swapped[p][0] if p in swapped else p for p in group["params"]]
        for old in [parameter for parameter in optimizer.state if parameter in swapped]:
            new, axes = swapped[old]
            state = optimizer.state.pop(old)
            optimizer.state[new] = {
                key: take(value, axes, index) if isinstance(value, Tensor) and value.shape == old.shape else value
                for key, value in state.items()
            }


def _rewrite(literal: Literal) -> None:
    node, size = literal.node, size_of(literal.axis)
    if not isinstance(size, int):
        return
    position = next(i for i, a in enumerate(node.target._schema.arguments) if a.name == literal.argument)  # type: ignore[union-attr]
    positional = position < len(node.args)
    value = node.args[position] if positional else node.kwargs.get(literal.argument)
    if literal.index is None:
        new: object = size
    else:
        assert isinstance(value, (list, tuple))
        new = [*value[: literal.index], size, *value[literal.index + 1 :]]
    if value == new:
        return
    if positional:
        node.update_arg(position, new)  # type: ignore[arg-type]
    else:
        node.update_kwarg(literal.argument, new)  # type: ignore[arg-type]
