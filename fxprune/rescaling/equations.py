"""How a graph answers when weights are scaled: linear equations between the logarithms of the factors.

``x[v]`` is the logarithm of the factor by which the value `v` changes. A product of two values has ``x = x1 + x2``, a
sum ``x = x1 = x2``, and what is not homogeneous (a softmax, an activation, an epsilon) has ``x = 0``, as inputs and
outputs do.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from math import log
from typing import Any, cast

import torch
from torch import nn
from torch._ops import OpOverload
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves

from fxprune.calls import bound_arguments, is_tensor, results_of
from fxprune.contractions import ATTENTION
from fxprune.rescaling.pieces import Piece, own_parameter, pieces_of
from fxprune.rescaling.system import ScaleSystem
from fxprune.rules.table import overload
from fxprune.traced import tensor_of

aten = torch.ops.aten

PRODUCTS = {aten.mul.Tensor, aten.mul.Scalar, aten.mul_.Tensor, aten.mul_.Scalar, aten.multiply.Tensor}
QUOTIENTS = {aten.div.Tensor, aten.div.Scalar, aten.div_.Tensor, aten.div_.Scalar}
# products that scale their result themselves
OWN_FACTOR: dict[object, str] = {ATTENTION: "scale", aten.baddbmm.default: "alpha"}

_FIRST = """
    alias chunk clone contiguous detach dropout embedding expand flatten.using_ints gather index.Tensor index_select
    mean.dim neg numpy_T permute relu repeat repeat_interleave.self_int reshape select.int slice.Tensor split.Tensor
    split_with_sizes squeeze squeeze.dim sum.dim_IntList t to.dtype transpose.int type_as unbind.int unflatten.int
    unsqueeze view _unsafe_view
"""
_LIKE_FIRST = {operator.getitem, *(overload(name) for name in _FIRST.split())}
_SUMS = {aten.add.Tensor, aten.add_.Tensor, aten.sub.Tensor, aten.cat.default, aten.stack.default}
_MATMULS = {aten.matmul.default, aten.bmm.default, aten.mm.default, aten.einsum.default}
_ADDED = {aten.addmm.default, aten.baddbmm.default}
_LINEAR = {aten.linear.default, aten.conv1d.default, aten.conv2d.default}
_NORMS = {aten.layer_norm.default, aten.rms_norm.default}
_POWERS = {aten.sqrt.default: 0.5, aten.rsqrt.default: -0.5, aten.reciprocal.default: -1.0}
_IN_PLACE = {aten.add_.Tensor, aten.mul_.Tensor, aten.mul_.Scalar, aten.div_.Tensor, aten.div_.Scalar}
_CASTS = {aten.to.dtype, aten.alias.default, aten.type_as.default}


class ScaleEquations:
    """The equations of a graph in which some numbers change.

    Args:
        gm: the graph.
        factors: node with a number that scales its result -> the number it shall have.

    Attributes:
        system: the equations; unknowns are nodes, parameters by their id, and parts of packed weights.
        offsets: id of a parameter -> the number that is added before it scales anything, as in ``(1 + weight) * x``.
        pieces: nodes that take parts of packed weights, such as queries, keys and values.
    """

    def __init__(self, gm: GraphModule, factors: Mapping[Node, float]) -> None:
        self.gm, self.factors = gm, factors
        self.system = ScaleSystem()
        self.offsets: dict[int, float] = {}
        self.pieces: dict[Node, Piece] = pieces_of(gm)
        packed = {name for piece in self.pieces.values() for name, _ in piece.places}
        for node in gm.graph.nodes:
            if node.op == "get_attr":
                if str(node.target) not in packed and is_tensor(node):
                    self._weight(node)
            elif node in self.pieces:
                self.system.same(node, self.pieces[node])
                self._fix([self.pieces[node].operand])
            elif node.op == "call_function":
                if results_of(node) is not None:  # a size is not scaled with its tensor
                    self._call(node)
            else:
                self._fix([node, *node.all_input_nodes])

    def _weight(self, node: Node) -> None:
        name = str(node.target)
        tensor = tensor_of(self.gm, name)
        if isinstance(tensor, nn.Parameter):
            self.system.same(node, id(tensor))
        else:
            self._fix([node])

    def _call(self, node: Node) -> None:
        target, operands = node.target, [value for value in tree_leaves(node.args) if _is_value(value)]
        if target in _IN_PLACE and len(operands[0].users) > 1:
            self._fix(operands)  # others may see it before or after
        if target in PRODUCTS | QUOTIENTS:
            self._factor(node)
        elif target in _LIKE_FIRST:
            self.system.same(node, operands[0])
        elif target in _SUMS:
            self._sum(node, operands)
        elif target in _MATMULS:
            self._multiply(node, operands)
        elif target in _LINEAR:
            self._multiply(node, operands[:2], operands[2:])
        elif target in _ADDED:
            self._multiply(node, operands[-2:], operands[:-2])
        else:
            self._other(node, operands)

    def _factor(self, node: Node) -> None:
        """``a * b`` or ``a / b``, of which b may be a number."""
        left, right = cast("tuple[Node, Any]", node.args[:2])
        sign = -1.0 if node.target in QUOTIENTS else 1.0
        if not is_tensor(right):
            self.system.same(node, left, self._change(node))
        elif left is right:
            self.system.add({node: -1.0, left: 1.0 + sign})
        else:
            self.system.add({node: -1.0, left: 1.0, right: sign})

    def _sum(self, node: Node, operands: list[Node]) -> None:
        numbers = [] if isinstance(node.args[0], (list, tuple)) else [v for v in node.args[:2] if not is_tensor(v)]
        for operand in operands:
            self.system.same(operand, node)
        if numbers and numbers != [0] and not self._adds_to_weight(node, operands[0], numbers[0]):
            self._fix([node])

    def _adds_to_weight(self, node: Node, operand: Node, number: Any) -> bool:
        """Tell whether a number is added to a parameter nothing else reads; then the sum can be scaled by both."""
        while operand.target in _CASTS and len(operand.users) == 1:
            operand = operand.all_input_nodes[0]
        name = own_parameter(self.gm, operand)
        if node.target is not aten.add.Tensor or isinstance(number, Node) or name is None or len(operand.users) > 1:
            return False
        self.offsets[id(tensor_of(self.gm, name))] = float(number)
        return True

    def _multiply(self, node: Node, factors: list[Node], added: Iterable[Node] = ()) -> None:
        terms: dict[Any, float] = {node: -1.0}
        for value in factors:
            terms[value] = terms.get(value, 0.0) + 1.0
        self.system.add(terms, -self._change(node))
        for value in added:
            self.system.same(value, node)

    def _other(self, node: Node, operands: list[Node]) -> None:
        target = node.target
        own = bound_arguments(node) if isinstance(target, OpOverload) else {}
        if target is ATTENTION:
            self.system.same(node, own["value"])
            self.system.add({own["query"]: 1.0, own["key"]: 1.0}, -self._change(node))
            self._fix([own["attn_mask"]])
        elif target in _NORMS:
            held = [value for value in (own["weight"], own.get("bias")) if value is not None]
            for value in held:
                self.system.same(value, node)
            self._fix([own["input"], *([] if held else [node])])
        elif target in _POWERS:
            self.system.add({node: -1.0, operands[0]: _POWERS[target]})
        elif target is aten.pow.Tensor_Scalar and isinstance(own["exponent"], (int, float)):
            self.system.add({node: -1.0, operands[0]: float(own["exponent"])})
        elif target is aten.masked_fill.Scalar and own["value"] == 0:
            self.system.same(node, own["self"])
        else:
            self._fix([node, *operands])

    def _change(self, node: Node) -> float:
        """Return the logarithm of how much a node with another number yields, relative to now."""
        if node not in self.factors:
            return 0.0
        change = log(self.factors[node] / number_at(node))
        return -change if node.target in QUOTIENTS else change

    def _fix(self, values: Iterable[Node | None]) -> None:
        for value in values:
            if value is not None:
                self.system.fix(value)


def _is_value(value: object) -> bool:
    """Tell a tensor, or a list of tensors, from a size."""
    return isinstance(value, Node) and results_of(value) is not None


def scales(node: Node) -> bool:
    """Tell whether a number at `node` scales its result, and may be another if weights make up for it."""
    if node.target in OWN_FACTOR:
        return bound_arguments(node)[OWN_FACTOR[node.target]] is not None
    if node.target not in PRODUCTS | QUOTIENTS or not isinstance(node.args[0], Node):
        return False
    return isinstance(node.args[1], (int, float)) and node.args[1] != 0


def number_at(node: Node) -> float:
    """Return the number that scales the result of `node`."""
    name = OWN_FACTOR.get(node.target)
    return float(bound_arguments(node)[name] if name else node.args[1])  # type: ignore[arg-type]


def set_number(node: Node, number: float) -> None:
    """Write another one in its place."""
    name = OWN_FACTOR.get(node.target)
    if name:
        node.update_kwarg(name, number)
    else:
        node.update_arg(1, number)
