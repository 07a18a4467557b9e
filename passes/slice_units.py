"""The cut itself: slice tensors and optimizer state by the kept units, and rewrite the sizes that follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.optim import Optimizer

from fxprune.axes import size_of
from fxprune.calls import argument_position, bound_arguments
from fxprune.errors import PassError
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

    def requires(self, gm: GraphModule) -> None:
        if any(mask.shape[-1] != factor.size for factor, mask in self.kept.units.items()):
            raise PassError("the cut was made for other sizes", remedy="make a new one from the groups of now")
        for optimizer in self.optimizers:
            for parameter, state in optimizer.state.items():
                odd = [key for key, value in state.items() if not _follows(value, parameter)]
                if odd:
                    raise PassError(
                        f"the state {odd[0]!r} of {type(optimizer).__name__} cannot be cut like its parameter",
                        cause=f"it has shape {list(state[odd[0]].shape)}, the parameter {list(parameter.shape)}",
                        remedy="use an optimizer with one moment an entry, such as Adam or SGD",
                    )

    def call(self, gm: GraphModule) -> PassResult:
        index = IndexCache(self.kept)
        moves = StateMoves(self.optimizers, index)
        modified = False
        with torch.no_grad():
            # one tensor after the other, with its optimizer state: what is cut off is free before the next is made.
            # Last first: in that order malloc reuses what was freed, instead of handing it back and asking again
            for name, axes in reversed(self.inferred.tensors.items()):
                if any(index(axis) is not None for axis in axes):
                    old = tensor_of(gm, name)
                    new = sliced(old, axes, index)
                    replace_tensor(gm, name, new)
                    moves(old, new, axes)
                    modified = True
        shrink(self.kept)
        for literal in self.inferred.literals:
            _rewrite(literal)
        return PassResult(gm, modified=modified)

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


def _follows(value: object, parameter: Tensor) -> bool:
    """Tell whether a piece of optimizer state has an entry for each of the parameter's, or is one number."""
    return not isinstance(value, Tensor) or value.numel() == 1 or value.shape == parameter.shape


class StateMoves:
    """Hands optimizers new parameters in the place of old ones, with their state sliced alike: step and slice commute.

    Args:
        optimizers: each parameter may be in any of them.
        index: of the kept positions.
    """

    def __init__(self, optimizers: tuple[Optimizer, ...], index: IndexCache) -> None:
        self.index = index
        self._holders: dict[Tensor, list[tuple[Optimizer, list[Tensor], int]]] = {}
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                for place, parameter in enumerate(group["params"]):
                    self._holders.setdefault(parameter, []).append((optimizer, group["params"], place))

    def __call__(self, old: Tensor, new: Tensor, axes: Axes) -> None:
        """Put `new` where `old` was."""
        for optimizer, parameters, place in self._holders.pop(old, ()):
            parameters[place] = new
            if old in optimizer.state:
                state = optimizer.state.pop(old)
                optimizer.state[new] = state
                for key, value in state.items():
                    if isinstance(value, Tensor) and value.shape == old.shape:
                        state[key] = take(value, axes, self.index)


def _rewrite(literal: Literal) -> None:
    size = size_of(literal.axis)
    given = bound_arguments(literal.node)[literal.argument]
    new = size if literal.index is None else [*given[: literal.index], size, *given[literal.index + 1 :]]
    if isinstance(size, int) and given != new:
        _set_argument(literal.node, literal.argument, new)


def _set_argument(node: Node, name: str, value: Any) -> None:
    position = argument_position(node, name)
    if position < len(node.args):
        node.update_arg(position, value)
    else:
        node.update_kwarg(name, value)
