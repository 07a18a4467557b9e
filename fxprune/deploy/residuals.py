"""Residual sums around int8 products: biases go with the products, and what is summed stays in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

    from onnx import GraphProto, NodeProto

CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")


def biases_beside_products(graph: GraphProto, products: Container[str]) -> None:
    """Write ``Sum(x W, r, b)`` as ``Sum(x W + b, r)``: ONNX Runtime's int8 product adds a bias as it goes.

    Args:
        graph: of float32; in front of norms it may sum more than two terms at once, see `subtract_before_norms`.
        products: names of the nodes that compute ``x W``.
    """
    from onnx import helper

    vectors = {one.name for one in graph.initializer if len(one.dims) == 1}
    made = {name: node for node in graph.node for name in node.output}
    for place, node in reversed(list(enumerate(graph.node))):
        biases = [name for name in node.input if name in vectors]
        terms = [name for name in node.input if name in made and made[name].name in products]
        if node.op_type != "Sum" or len(set(node.input)) < 3 or len(biases) != 1 or not terms:
            continue
        if list(node.input).count(terms[0]) > 1:
            continue  # the bias would be added as often
        biased = f"{node.name}_biased"
        node.input[:] = [biased if name == terms[0] else name for name in node.input if name != biases[0]]
        graph.node.insert(place, helper.make_node("Add", [terms[0], biases[0]], [biased], name=biased))


def keep_residuals(path: Path, products: Container[str]) -> None:
    """Let all that is no int8 product read values from before they were rounded to int8, and outputs be such values.

    A quantiser sends every reader of a product's operand through the rounded one; in front of a norm that costs
    accuracy and a node.

    Args:
        path: of a graph with QuantizeLinear and DequantizeLinear in front of every product, written anew.
        products: names of the products.
    """
    import onnx
    import onnx_ir as ir
    import onnx_ir.passes.common as common

    read = onnx.load(path, load_external_data=False)  # the weights beside it stay as they are
    graph = read.graph
    made = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.name in products or node.op_type in CONVERSIONS:
            continue
        for place, name in enumerate(node.input):
            source = _before_rounding(made, name)
            if source is not None:
                node.input[place] = source
    for name in {output.name for output in graph.output}:
        source = _before_rounding(made, name)
        if source is not None:
            _output_instead(graph, made[name], source)
    model = ir.from_proto(read)
    common.RemoveUnusedNodesPass()(model)  # conversions that nothing reads any more
    onnx.save(ir.to_proto(model), path)


def _output_instead(graph: GraphProto, rounded: NodeProto, source: str) -> None:
    """Let `source` be the output of the graph that `rounded` was; what multiplies reads that under a new name."""
    from onnx import helper

    (name,) = rounded.output
    for node in graph.node:
        node.input[:] = [f"{name}_rounded" if one == name else one for one in node.input]
    rounded.output[0] = f"{name}_rounded"
    place = list(graph.node).index(rounded)
    graph.node.insert(place, helper.make_node("Identity", [source], [name], name=f"{name}_output"))


def _before_rounding(made: dict[str, NodeProto], name: str) -> str | None:
    back = made.get(name)
    if back is None or back.op_type != "DequantizeLinear":
        return None
    rounded = made.get(back.input[0])
    return rounded.input[0] if rounded is not None and rounded.op_type == "QuantizeLinear" else None
