"""Products on (batch x length, width), written on (batch, length, width) as the ops around them are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fxprune.deploy.lean.values import constant, insert, made_by, replace, same, single_use, sizes

if TYPE_CHECKING:
    import onnx_ir as ir

    from fxprune.deploy.lean.values import Size


def keep_axes(graph: ir.Graph) -> None:
    """Write every Gemm between two Reshapes, that join the leading axes and part them again, as MatMul and Add.

    Its weight is then that of a product like any other, which the rewrites after this one know.
    """
    for node in [node for node in graph if node.op_type == "Gemm" and node.domain == ""]:
        reshapes = [use.node for use in node.outputs[0].uses()]
        lead = _lead(reshapes)
        weight, bias = _turned(graph, node), node.inputs[2] if len(node.inputs) > 2 else None
        if lead is None or weight is None or not _is_plain(node, bias) or node.outputs[0].is_graph_output():
            continue
        read, made = sizes(weight) or (None, None)
        source = _before_joined(node.inputs[0], [*lead, read])
        if source is None:
            continue
        shape: list[Size] = [*lead, made]
        found = insert(node, "MatMul", [source, weight], shape)
        found = found if bias is None else insert(node, "Add", [found, bias], shape)
        for reshape in reshapes:
            replace(reshape.outputs[0], found)


def _lead(reshapes: list[ir.Node]) -> list[Size] | None:
    """Return the leading axes that all of `reshapes` part, if that is what they do."""
    shapes = [sizes(node.outputs[0]) for node in reshapes if node.op_type == "Reshape" and node.domain == ""]
    first = shapes[0] if shapes else None
    if not first or len(shapes) < len(reshapes) or not all(shape and same(shape, first) for shape in shapes):
        return None
    return list(first[:-1])


def _is_plain(node: ir.Node, bias: ir.Value | None) -> bool:
    """Return whether it computes ``x W + b``."""
    scaled = any(node.attributes[name].as_float() != 1 for name in ("alpha", "beta") if name in node.attributes)
    turned = "transA" in node.attributes and node.attributes["transA"].as_int()
    return not scaled and not turned and (bias is None or len(sizes(bias) or (1, 1)) == 1)


def _turned(graph: ir.Graph, node: ir.Node) -> ir.Value | None:
    """Return the weight as (in, out); None if that would be a second copy of it."""
    weight = node.inputs[1]
    if weight is None or weight.const_value is None:
        return None
    turned = node.attributes.get("transB")
    if turned is None or not turned.as_int():
        return weight
    if not single_use(weight):
        return None
    return constant(graph, weight.const_value.numpy().T.copy(), f"{weight.name}_transposed")


def _before_joined(value: ir.Value | None, wanted: list[Size]) -> ir.Value | None:
    """Return what was reshaped to `value`, of these sizes."""
    node = made_by(value, "Reshape")
    while node is not None:
        found = sizes(node.inputs[0])
        if found is not None and same(found, wanted):
            return node.inputs[0]
        node = made_by(node.inputs[0], "Reshape")
    return None
