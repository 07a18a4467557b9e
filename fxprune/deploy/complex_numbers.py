"""Complex numbers as pairs of real ones, for the exporter, which knows them in a few ops only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.fx import Graph, Node
from torch.fx.node import map_arg

aten = torch.ops.aten
_PRODUCTS = {aten.mul.Tensor, aten.mul.Scalar}
_SAME = {aten.to.dtype, aten.to.dtype_layout, aten.to.device, aten.clone.default, aten.alias.default}
_EACH = {  # what moves entries, and does not look at them
    aten.contiguous.default,
    aten.expand.default,
    aten.permute.default,
    aten.reshape.default,
    aten.select.int,
    aten.slice.Tensor,
    aten.squeeze.dim,
    aten.transpose.int,
    aten.unsqueeze.default,
    aten.view.default,
}
Pair: TypeAlias = tuple[Node, Node]
Pairs: TypeAlias = dict[Any, Pair]


def write_as_pairs(graph: Graph) -> None:
    """Rewrite rotations by complex products, ``view_as_real(view_as_complex(x) * polar(1, angle))``, in real numbers.

    ``(a + bi)(c + di) = (ac - bd) + (ad + bc)i``. A complex value that is made or used in another way stays one.
    """
    pairs: Pairs = {}
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        with graph.inserting_before(node):
            if (pair := _pair(graph, node, pairs)) is not None:
                pairs[node] = pair
            elif node.target is aten.view_as_real.default and node.args[0] in pairs:
                node.replace_all_uses_with(_call(graph, aten.stack.default, list(pairs[node.args[0]]), -1))
    for node in reversed(list(graph.nodes)):
        checks = node.target is aten._assert_tensor_metadata.default and node.args[0] in pairs
        if not node.users and (checks or node in pairs or node.target is aten.view_as_real.default):
            graph.erase_node(node)


def _pair(graph: Graph, node: Node, pairs: Pairs) -> Pair | None:
    """Return the real and the imaginary part of `node`, or None."""

    def call(target: Callable[..., Any], *args: Any) -> Node:
        return _call(graph, target, *args)

    arguments: Any = node.args or (None,)
    first, *rest = arguments
    if node.target is aten.polar.default:
        parts = [call(part, *rest) for part in (aten.cos.default, aten.sin.default)]
        return call(aten.mul.Tensor, first, parts[0]), call(aten.mul.Tensor, first, parts[1])
    if node.target is aten.view_as_complex.default:
        return call(aten.select.int, first, -1, 0), call(aten.select.int, first, -1, 1)
    if node.target in _PRODUCTS:
        return _product(call, first, rest[0], pairs)
    if first not in pairs:
        return None
    real, imaginary = pairs[first]
    if node.target in _SAME and node.meta["val"].dtype == first.meta["val"].dtype:
        return real, imaginary
    if node.target in _EACH:
        return call(node.target, real, *rest), call(node.target, imaginary, *rest)
    return None


def _product(call: Callable[..., Node], left: Any, right: Any, pairs: Pairs) -> Pair | None:
    if left not in pairs:
        left, right = right, left
    if left not in pairs or isinstance(right, complex):
        return None
    real, imaginary = pairs[left]
    if right in pairs:
        c, d = pairs[right]
        products = [call(aten.mul.Tensor, a, b) for a, b in ((real, c), (imaginary, d), (real, d), (imaginary, c))]
        return call(aten.sub.Tensor, *products[:2]), call(aten.add.Tensor, *products[2:])
    if isinstance(right, Node) and right.meta["val"].is_complex():
        return None
    return call(aten.mul.Tensor, real, right), call(aten.mul.Tensor, imaginary, right)


def _call(graph: Graph, target: Callable[..., Any], *args: Any) -> Node:
    """Add a node that knows its shape."""
    node = graph.call_function(target, args)
    found: Tensor = target(*map_arg(args, lambda operand: operand.meta["val"]))
    node.meta["val"] = found
    return node
