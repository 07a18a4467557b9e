"""Attention written out, as one op: ``softmax(scale * Q K^T + mask) V``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING

from fxprune.deploy.lean import values
from fxprune.deploy.lean.values import insert, made_by, permutes, same, single_use, sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from fxprune.deploy.lean.values import Size

_TURNED = (0, 1, 3, 2)  # keys, before their product with the queries
_SPLIT = (0, 2, 1, 3)  # (batch, length, heads, size) -> (batch, heads, length, size)
_TURNED_AND_SPLIT = (0, 2, 3, 1)  # both at once


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scores:
    """What softmax is taken of: ``scale * product + masks``."""

    product: ir.Node
    scale: float = 1.0
    masks: tuple[ir.Value, ...] = ()


def fold_attention(graph: ir.Graph) -> None:
    """Replace both products of every attention and what is between them, where heads have an axis of their own."""
    for node in [node for node in graph if node.op_type == "Softmax" and node.domain == ""]:
        reader = _reader(node)
        found = _scores(node.inputs[0]) if reader is not None else None
        if reader is not None and found is not None:
            _rewrite(reader, node.outputs[0], found)


def _reader(softmax: ir.Node) -> ir.Node | None:
    """Return the product with the values, if it alone reads the weights and they sum to one over the keys."""
    weights, shape = softmax.outputs[0], sizes(softmax.outputs[0])
    axis = softmax.attributes["axis"].as_int() if "axis" in softmax.attributes else -1
    if shape is None or len(shape) != 4 or axis not in (-1, 3) or not single_use(weights):
        return None
    reader = next(iter(weights.uses())).node
    return reader if made_by(reader.outputs[0], "MatMul") and reader.inputs[0] is weights else None


def _scores(value: ir.Value | None) -> _Scores | None:
    """Read how the product was scaled and what was added to it; None if it is no such product."""
    node = made_by(value, "MatMul", "Add", "Mul", "Div")
    if value is None or node is None or not single_use(value):
        return None
    if node.op_type == "MatMul":
        return _Scores(product=node)
    for inner, other in (node.inputs, reversed(node.inputs)):
        found = _scores(inner) if other is not None else None
        if found is None or other is None:
            continue
        if node.op_type == "Add":
            return replace(found, masks=(*found.masks, other))
        factor = _number(other)
        if factor is None or found.masks or (node.op_type == "Div" and inner is not node.inputs[0]):
            continue
        return replace(found, scale=found.scale * factor if node.op_type == "Mul" else found.scale / factor)
    return None


def _number(value: ir.Value) -> float | None:
    import onnx_ir as ir

    tensor = ir.convenience.get_const_tensor(value)
    return float(tensor.numpy().ravel()[0]) if tensor is not None and tensor.size == 1 else None


def _rewrite(reader: ir.Node, weights: ir.Value, scores: _Scores) -> None:
    query, turned = scores.product.inputs
    key, value = _unturned(turned), reader.inputs[1]
    shapes = [shape for one in (query, key, value) if (shape := sizes(one)) is not None and len(shape) == 4]
    if len(shapes) < 3 or not all(same(shape[:2], shapes[0][:2]) for shape in shapes):
        return  # what is one for all rows or heads, the op does not repeat
    if any(not same((sizes(one) or (None,))[-1:], (sizes(weights) or ())[-1:]) for one in scores.masks):
        return  # a mask of one column: the op wants one for each key
    mask: ir.Value | None = None
    for one in scores.masks:
        mask = one if mask is None else insert(reader, "Add", [mask, one], _broadcast(sizes(mask), sizes(one)))
    inputs = [query, key, value] if mask is None else [query, key, value, mask]
    found = insert(reader, "Attention", inputs, sizes(reader.outputs[0]), scale=scores.scale)
    values.replace(reader.outputs[0], found)


def _broadcast(left: Sequence[Size] | None, right: Sequence[Size] | None) -> list[Size] | None:
    """Return the sizes of a sum."""
    if left is None or right is None:
        return None
    pairs = list(zip_longest(reversed(left), reversed(right), fillvalue=1))
    return [a if b in (a, 1) else b if a == 1 else None for a, b in reversed(pairs)]


def _unturned(turned: ir.Value | None) -> ir.Value | None:
    """Return keys of (batch, heads, length, size)."""
    node = made_by(turned, "Transpose")
    if node is None:
        return None
    if permutes(node, *_TURNED):
        return node.inputs[0]
    if not permutes(node, *_TURNED_AND_SPLIT):
        return None
    shape = sizes(node.inputs[0])
    return insert(node, "Transpose", [node.inputs[0]], shape and [shape[axis] for axis in _SPLIT], perm=_SPLIT)
