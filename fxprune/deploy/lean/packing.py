"""Several products with one value as one product: queries, keys and values of an attention."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fxprune.deploy.lean.values import constant, made_by, replace, single_use, sizes

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_ir as ir
    from numpy import ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class _Projection:
    """``x @ weight + bias``, read by nobody else."""

    x: ir.Value
    weight: ir.Value
    bias: ir.Value | None
    output: ir.Value
    product: ir.Node

    @property
    def width(self) -> int:
        return int(_array(self.weight).shape[1])


def pack_projections(graph: ir.Graph) -> None:
    """Compute the projections in front of an attention that read the same value in one matrix multiplication.

    Faster where one alone is too small for several threads (1 x 32 tokens, two threads: 6 %), and as fast elsewhere.
    Weights that are read in yet another place stay as they are, for they would be stored twice.
    """
    groups = [group for node in list(graph) if _attends(node) for group in _groups(node)]
    together = Counter(tuple(projection.weight for projection in group) for group in groups)
    for group in groups:
        uses = together[tuple(projection.weight for projection in group)]
        if len(group) > 1 and all(len(projection.weight.uses()) == uses for projection in group):
            _pack(graph, group)


def _attends(node: ir.Node) -> bool:
    return node.op_type == "Attention" and node.domain == ""


def _groups(attention: ir.Node) -> list[list[_Projection]]:
    """Group the projections by what they read."""
    found: dict[ir.Value, list[_Projection]] = defaultdict(list)
    for value in dict.fromkeys(attention.inputs[:3]):
        turned = made_by(value, "RotaryEmbedding")
        projection = _projection(turned.inputs[0] if turned is not None else value)
        if projection is not None:
            found[projection.x].append(projection)
    return list(found.values())


def _projection(value: ir.Value | None) -> _Projection | None:
    if value is None or not single_use(value):
        return None
    addition = made_by(value, "Add")
    bias = None
    product = made_by(value, "MatMul")
    if addition is not None:
        bias = next((term for term in addition.inputs if term is not None and _is_weight(term, 1)), None)
        product = next((node for term in addition.inputs if (node := made_by(term, "MatMul")) is not None), None)
        if bias is None or product is None or not single_use(product.outputs[0]):
            return None
    if product is None or product.inputs[1] is None or not _is_weight(product.inputs[1], 2):
        return None
    x, weight = product.inputs
    assert x is not None
    assert weight is not None
    if bias is not None and _array(bias).shape[0] != _array(weight).shape[1]:
        return None
    return _Projection(x=x, weight=weight, bias=bias, output=value, product=product)


def _is_weight(value: ir.Value, axes: int) -> bool:
    return value.is_initializer() and value.const_value is not None and len(value.const_value.shape) == axes


def _array(value: ir.Value) -> ndarray:
    assert value.const_value is not None
    return value.const_value.numpy()


def _pack(graph: ir.Graph, group: list[_Projection]) -> None:
    import numpy as np
    import onnx_ir as ir

    first = group[0]
    name = "+".join(str(projection.weight.name) for projection in group)
    weights = np.concatenate([_array(projection.weight) for projection in group], axis=1)
    nodes = [ir.node("MatMul", [first.x, constant(graph, weights, name)])]
    if any(projection.bias is not None for projection in group):
        biases = [_bias(projection) for projection in group]
        name = "+".join(str((projection.bias or projection.weight).name) for projection in group) + "_bias"
        nodes.append(ir.node("Add", [nodes[0].outputs[0], constant(graph, np.concatenate(biases), name)]))
    widths = [projection.width for projection in group]
    parts = constant(graph, np.array(widths, dtype=np.int64), "widths_" + "_".join(map(str, widths)))
    nodes.append(ir.node("Split", [nodes[-1].outputs[0], parts], attributes={"axis": -1}, num_outputs=len(group)))
    place = min((projection.product for projection in group), key=_order(graph))
    graph.insert_before(place, nodes)
    lead = (sizes(first.output) or (None,))[:-1]
    for node in nodes[:-1]:
        node.outputs[0].type, node.outputs[0].shape = first.output.type, ir.Shape([*lead, sum(widths)])
    for projection, part in zip(group, nodes[-1].outputs, strict=True):
        part.type, part.shape = projection.output.type, projection.output.shape
        replace(projection.output, part)


def _bias(projection: _Projection) -> ndarray:
    import numpy as np

    if projection.bias is not None:
        return _array(projection.bias)
    return np.zeros(projection.width, dtype=_array(projection.weight).dtype)


def _order(graph: ir.Graph) -> Callable[[ir.Node], int]:
    places = {node: place for place, node in enumerate(graph)}
    return lambda node: places[node]
