"""Write numbers that a model keeps as tensors of one element as the numbers they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from fxprune.calls import is_tensor
from fxprune.passes.base import Pass, PassResult
from fxprune.traced import tensor_of

aten = torch.ops.aten
_EITHER_WAY = {aten.mul.Tensor, aten.add.Tensor}
_POINTWISE = {*_EITHER_WAY, aten.div.Tensor, aten.sub.Tensor, aten.mul_.Tensor, aten.div_.Tensor}
_ON_NUMBERS = {
    aten.lift_fresh_copy.default,
    aten.clone.default,
    aten.detach.default,
    aten.detach_.default,
    aten.alias.default,
    aten.to.dtype,
    aten.to.device,
    aten.to.dtype_layout,
    aten._to_copy.default,
    aten.mul.Tensor,
    aten.div.Tensor,
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.pow.Tensor_Scalar,
    aten.sqrt.default,
    aten.rsqrt.default,
    aten.reciprocal.default,
}


@dataclass(frozen=True, repr=False)
class ScalarConstants(Pass):
    """Replace operands that follow from tensors of no dimension, which the model computes from its sizes, by literals.

    DeBERTa divides by ``sqrt(tensor(head_dim) * 3)``, Gemma multiplies by a buffer that holds ``sqrt(width)``. What is
    saved with the weights, and what is not yet known because the model has no weights, stays. Numerics: exact; on a
    GPU a quotient may differ in its last bit.
    """

    def call(self, gm: GraphModule) -> PassResult:
        known: dict[Node, Tensor] = {}
        changed = False
        for node in gm.graph.nodes:
            if (value := _value(gm, node, known)) is not None:
                known[node] = value
            elif node.target in _POINTWISE and (args := _literal(node, known)) is not None:
                node.args = args
                changed = True
        for node in reversed(known):  # in-place copies among them look as if somebody waited for what they change
            if changed and not node.users:
                gm.graph.erase_node(node)
        return PassResult(gm, modified=changed)


def _value(gm: GraphModule, node: Node, known: dict[Node, Tensor]) -> Tensor | None:
    """Return what `node` always is, if that is one number; None if it is not, or is unknown."""
    if node.op == "get_attr":
        constant = str(node.target) in gm.meta["provenance"].recomputed and is_tensor(node)
        tensor = tensor_of(gm, str(node.target)) if constant else None
        return tensor if tensor is not None and tensor.ndim == 0 and not tensor.is_meta else None
    inputs = node.all_input_nodes
    if node.target not in _ON_NUMBERS or not inputs or any(operand not in known for operand in inputs):
        return None
    assert callable(node.target)
    args, kwargs = map_arg((node.args, node.kwargs), known.__getitem__)
    found: Tensor = node.target(*args, **kwargs)
    return found


def _literal(node: Node, known: dict[Node, Tensor]) -> tuple[Node, float] | None:
    """Return the arguments of a call with one operand as a number; None if that would change its type or its value."""
    if len(node.args) != 2 or node.kwargs:
        return None
    left, right = node.args
    if left in known and node.target in _EITHER_WAY:
        left, right = right, left
    if not isinstance(left, Node) or not isinstance(right, Node) or right not in known:
        return None
    before, after = left.meta["val"], node.meta["val"]
    if not (before.is_floating_point() and known[right].is_floating_point() and before.dtype == after.dtype):
        return None
    return (left, known[right].item()) if before.ndim else None
