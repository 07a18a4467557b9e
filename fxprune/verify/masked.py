"""Proof 2: the slim graph computes what the dense graph computes with the removed units zeroed.

The dense graph is interpreted node by node. Removed units are zeroed in parameters and in every value, and ops that
normalise run over the kept positions only. Nothing here uses the rewriter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from fxprune.groups import Groups
from fxprune.units import Kept, axis_mask, tensor_mask
from fxprune.verify.compare import output_axes, output_tensors, relative_error

aten = torch.ops.aten


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

    def run_node(self, n: Node) -> Any:
        """Run one node and zero the removed units of its value."""
        mask = self._cut_operand(n) if n.target in NORMALISING else None
        if mask is None:
            return self._masked(n, super().run_node(n))
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        return self._masked(n, NORMALISING[n.target](mask.expand(args[0].shape), *args, **kwargs))

    def _cut_operand(self, node: Node) -> Tensor | None:
        """Return which entries of the first operand stay, if any go."""
        return tensor_mask(self.axes[node.args[0]][0], self.kept)  # type: ignore[index]

    def _masked(self, node: Node, value: Any) -> Any:
        results = self.axes.get(node)
        if results is None:
            return value
        if isinstance(value, Tensor):
            return _zeroed(value, tensor_mask(results[0], self.kept))
        return [_zeroed(item, tensor_mask(axes, self.kept)) for item, axes in zip(value, results, strict=True)]


def masked_error(dense: GraphModule, slim: GraphModule, groups: Groups, kept: Kept, kwargs: Mapping[str, Any]) -> float:
    """Return the largest relative difference between the masked dense graph and the slim one.

    Args:
        dense: the graph before the cut.
        slim: the graph after it.
        groups: groups of the dense graph, with dense sizes.
        kept: which units stayed.
        kwargs: inputs of both.
    """
    names = [node.target for node in dense.graph.nodes if node.op == "placeholder"]
    with torch.no_grad():
        expected = output_tensors(MaskedDense(dense, groups, kept).run(*[kwargs[str(name)] for name in names]))
        got = output_tensors(slim(**kwargs))
    pairs = zip(got, expected, output_axes(dense, groups.inferred), strict=True)
    return max(relative_error(new, _kept_only(old, axes, kept)) for new, old, axes in pairs)


def _kept_only(value: Tensor, axes: Any, kept: Kept) -> Tensor:
    """Drop the removed units of an output that was allowed to shrink."""
    for dim, axis in enumerate(axes):
        if kept.touches(axis):
            value = value.index_select(dim, torch.nonzero(axis_mask(axis, kept))[:, 0])
    return value


def _zeroed(value: Tensor, mask: Tensor | None) -> Tensor:
    return value if mask is None else torch.where(mask.to(value.device), value, torch.zeros_like(value))


def _count(mask: Tensor, dims: list[int]) -> int:
    """How many kept positions a value normalises over; the same for each row."""
    return int(mask.sum(dims).max())


def _layer_norm(
    mask: Tensor, x: Tensor, shape: list[int], weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Tensor:
    dims = list(range(-len(shape), 0))
    n = _count(mask, dims)
    centred = (x - x.sum(dims, keepdim=True) / n) * mask
    out = centred * torch.rsqrt(centred.square().sum(dims, keepdim=True) / n + eps)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


def _rms_norm(mask: Tensor, x: Tensor, shape: list[int], weight: Any = None, eps: float | None = None) -> Tensor:
    dims = list(range(-len(shape), 0))
    out = x * torch.rsqrt(x.square().sum(dims, keepdim=True) / _count(mask, dims) + (eps or 0.0))
    return out if weight is None else out * weight


def _mean(mask: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False, **_: Any) -> Tensor:
    dims = _dims(dim, x)
    return x.sum(dims, keepdim=keepdim) / _count(mask, dims)


def _var(mask: Tensor, x: Tensor, dim: Any = None, *, correction: Any = 1, keepdim: bool = False) -> Tensor:
    dims = _dims(dim, x)
    n = _count(mask, dims)
    centred = (x - x.sum(dims, keepdim=True) / n) * mask
    return centred.square().sum(dims, keepdim=keepdim) / (n - (1 if correction is None else correction))


def _dims(dim: Any, x: Tensor) -> list[int]:
    return [dim] if isinstance(dim, int) else list(dim or range(x.ndim))


NORMALISING: Mapping[Any, Callable[..., Tensor]] = {
    aten.layer_norm.default: _layer_norm,
    aten.rms_norm.default: _rms_norm,
    aten.mean.dim: _mean,
    aten.var.correction: _var,
}
