"""Absorb changed factors into the weights, for software that computes a factor itself from a slim size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.fx import GraphModule, Node

from fxprune.errors import PassError
from fxprune.passes.base import Pass, PassResult
from fxprune.traced import aliases_of, tensor_of

aten = torch.ops.aten

_PRODUCTS = {aten.mul.Tensor, aten.mul.Scalar, aten.mul_.Tensor, aten.mul_.Scalar, aten.multiply.Tensor}
_QUOTIENTS = {aten.div.Tensor, aten.div.Scalar, aten.div_.Tensor, aten.div_.Scalar}
_MULTILINEAR = {*_PRODUCTS, aten.matmul.default, aten.bmm.default}
_LINEAR = {aten.linear.default, aten.conv1d.default, aten.conv2d.default}
# f(ratio * x) == ratio * f(x), for the first operand alone
_HOMOGENEOUS = {
    aten.alias.default,
    aten.clone.default,
    aten.contiguous.default,
    aten.dropout.default,
    aten.expand.default,
    aten.permute.default,
    aten.reshape.default,
    aten.slice.Tensor,
    aten.squeeze.dim,
    aten.to.dtype,
    aten.transpose.int,
    aten.unsqueeze.default,
    aten.view.default,
}


@dataclass(frozen=True, repr=False)
class FoldLiterals(Pass):
    """Write other factors into products and quotients, and scale weights upstream so that nothing else changes.

    A decoder that multiplies its last hidden state by ``1/sqrt(width)`` keeps the dense width in the slim graph;
    software that loads the weights computes the factor from the slim width. The weights before it absorb the quotient.
    Numerics: exact up to rounding.

    Args:
        factors: node of a product or quotient with a number -> the number it shall have.
    Raises:
        PassError: no weight can absorb a change, because it is used elsewhere too.
    """

    factors: Mapping[Node, float]

    def call(self, gm: GraphModule) -> PassResult:
        due = {node: new for node, new in self.factors.items() if node.args[1] != new}
        scales = {name: ratio for node, new in due.items() for name, ratio in _scales(gm, node, new).items()}
        with torch.no_grad():
            for name, ratio in scales.items():
                tensor_of(gm, name).mul_(ratio)
        for node, new in due.items():
            node.update_arg(1, new)
        return PassResult(gm, modified=bool(due))

    def ensures(self, gm: GraphModule) -> None:
        assert all(node.args[1] == new for node, new in self.factors.items())


def is_scaling(node: Node) -> bool:
    """Tell whether `node` multiplies or divides a tensor by a number."""
    return (
        node.target in _PRODUCTS | _QUOTIENTS
        and isinstance(node.args[0], Node)
        and isinstance(node.args[1], (int, float))
        and node.args[1] != 0
    )


def _scales(gm: GraphModule, node: Node, new: float) -> dict[str, float]:
    """Return parameter -> ratio such that `node` with the factor `new` computes what it does now."""
    operand, old = node.args[:2]
    assert isinstance(operand, Node)
    assert isinstance(old, (int, float))
    names = _weights(gm, operand)
    if names is None:
        raise PassError(
            f"no weight can absorb the change of {old} to {new}",
            node=node,
            cause="what is multiplied is used elsewhere too",
            remedy="use the .pt2 or ONNX file, which keep the dense factor",
        )
    return dict.fromkeys(names, new / old if node.target in _QUOTIENTS else old / new)


def _weights(gm: GraphModule, value: Node) -> list[str] | None:
    """Return the parameters that, scaled together, scale `value` and nothing else; None if there are none."""
    if len(value.users) != 1:
        return None
    if value.op == "get_attr":
        name = str(value.target)
        alone = isinstance(tensor_of(gm, name), nn.Parameter) and len(aliases_of(gm, name)) == 1
        return [name] if alone else None
    operands = [argument for argument in value.args if isinstance(argument, Node)]
    if value.target in _HOMOGENEOUS or value.target in _QUOTIENTS:
        return _weights(gm, operands[0])
    if value.target in _MULTILINEAR:
        return next((found for operand in operands if (found := _weights(gm, operand))), None)
    if value.target in _LINEAR:
        each = [_weights(gm, operand) for operand in operands[1:]]
        return None if None in each else [name for names in each for name in names or ()]
    return None
