"""Residual sums in front of a norm, as differences: ``x + (h W + b) = x - (h (-W) + (-b))``.

ONNX Runtime merges an addition and the LayerNormalization behind it into SkipLayerNormalization, whose kernel takes 34
of 278 ms on the CPU (BERT of width 240, 8 x 128 tokens, one thread); sum and LayerNormalization take 8 ms together. It
merges neither a Sum nor a difference, but a Sum is computed by one thread however many there are.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from fxprune.deploy.lean.values import constant, insert, made_by, replace, single_use, sizes

if TYPE_CHECKING:
    import onnx_ir as ir

_NORMS = {"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"}


def subtract_before_norms(graph: ir.Graph) -> None:
    """Write the additions in front of every norm as differences, or where no weight can be negated, as one Sum."""
    for norm in [node for node in graph if node.op_type in _NORMS and node.domain == ""]:
        total = norm.inputs[0]
        addition = made_by(total, "Add")
        if total is None or addition is None:
            continue
        terms = _terms(addition)
        found = _difference(graph, addition, terms) or insert(addition, "Sum", terms)
        found.shape = total.shape
        replace(total, found)


def _terms(addition: ir.Node) -> list[ir.Value]:
    terms: list[ir.Value] = []
    for value in addition.inputs:
        assert value is not None
        inner = made_by(value, "Add")
        terms += _terms(inner) if inner is not None and single_use(value) else [value]
    return sorted(terms, key=lambda term: term.const_value is not None)  # biases last: the first ones set the shape


def _difference(graph: ir.Graph, addition: ir.Node, terms: list[ir.Value]) -> ir.Value | None:
    """Return what is no product with a weight of its own, less the products; None unless it is one value."""
    biases = [term for term in terms if term.const_value is not None]
    products = [node for term in terms if (node := _product(term)) is not None]
    products = products[1:] if len(products) + len(biases) == len(terms) else products
    taken = {node.outputs[0] for node in products}
    rest = [term for term in terms if term not in taken and term not in biases]
    if len(rest) != 1 or len(biases) > len(products) or len(set(terms)) < len(terms):
        return None
    found = rest[0]
    for node, bias in zip_longest(products, biases):
        node.replace_input_with(1, _negative(graph, node.inputs[1]))
        product = node.outputs[0]
        if bias is not None:
            shape = sizes(product) if _is_vector(bias) else None
            product = insert(addition, "Add", [product, _negative(graph, bias)], shape=shape)
        found = insert(addition, "Sub", [found, product])
    return found


def _product(term: ir.Value) -> ir.Node | None:
    """Return the node of ``h W`` if nothing else reads it, and nothing else reads the weight."""
    node = made_by(term, "MatMul")
    weight = node.inputs[1] if node is not None else None
    if weight is None or weight.const_value is None or not (single_use(term) and single_use(weight)):
        return None
    return node


def _is_vector(value: ir.Value) -> bool:
    return value.const_value is not None and len(value.const_value.shape) == 1


def _negative(graph: ir.Graph, value: ir.Value | None) -> ir.Value:
    assert value is not None
    assert value.const_value is not None
    return constant(graph, -value.const_value.numpy(), f"{value.name}_negative")
