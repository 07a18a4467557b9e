"""Questions about the values of an ONNX graph, and new nodes beside old ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx_ir as ir

Size = int | str | None  # None: unknown, and equal to nothing


def made_by(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """Return the node that computes `value`, if it is one of these ops of the standard domain."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.domain == "" and node.op_type in op_types else None


def sizes(value: ir.Value | None) -> tuple[Size, ...] | None:
    """Return the size of every axis; None if not even their number is known."""
    if value is None or value.shape is None:
        return None
    return tuple(size if isinstance(size, int) else size.value for size in value.shape)


def same(left: Sequence[Size], right: Sequence[Size]) -> bool:
    """Return whether sizes are known to be equal."""
    return len(left) == len(right) and all(a is not None and a == b for a, b in zip(left, right, strict=True))


def integers(value: ir.Value | None) -> list[int] | None:
    """Return what a constant of whole numbers holds, flat; None if it is none."""
    import onnx_ir as ir

    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    if tensor is None or not tensor.dtype.is_integer():
        return None
    return [int(number) for number in tensor.numpy().ravel()]


def permutes(node: ir.Node | None, *order: int) -> bool:
    """Return whether `node` is a Transpose to this order."""
    return node is not None and node.op_type == "Transpose" and tuple(ints(node, "perm")) == order


def ints(node: ir.Node, name: str) -> Sequence[int]:
    """Return a list attribute; empty if it is not there."""
    attribute = node.attributes.get(name)
    return () if attribute is None else attribute.as_ints()


def single_use(value: ir.Value) -> bool:
    """Return whether exactly one node reads `value`, once."""
    return len(value.uses()) == 1 and not value.is_graph_output()


def constant(graph: ir.Graph, array: Any, name: str) -> ir.Value:
    """Add a weight to the graph; one of the same name is taken to be the same."""
    import onnx_ir as ir

    if name in graph.initializers:
        return graph.initializers[name]
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def shape_constant(graph: ir.Graph, target: Sequence[int]) -> ir.Value:
    """Add the second operand of a Reshape; 0 copies the size, -1 is what is left."""
    import numpy as np

    return constant(graph, np.array(target, dtype=np.int64), "shape_" + "_".join(str(size) for size in target))


def insert(
    before: ir.Node,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    shape: Sequence[Size] | None = None,
    like: ir.Value | None = None,
    **attributes: Any,
) -> ir.Value:
    """Put a node of the standard domain in front of another; return its one output.

    Args:
        before: which node.
        op_type: the op.
        inputs: its operands.
        shape: of the output, as far as known.
        like: a value with the type of the output; that of the first operand by default.
        attributes: of the op.
    """
    import onnx_ir as ir

    node = ir.node(op_type, list(inputs), attributes=attributes)
    output = node.outputs[0]
    source = like if like is not None else inputs[0]
    output.type = source.type if source is not None else None
    if shape is not None:
        output.shape = ir.Shape(shape)
    assert before.graph is not None
    before.graph.insert_before(before, node)
    return output


def replace(old: ir.Value, new: ir.Value) -> None:
    """Let every reader of `old` read `new`, which takes over the name of an output of the graph."""
    import onnx_ir as ir

    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
