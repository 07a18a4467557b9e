"""Masks that say less than they compute, and masks that say the same for every query, which ONNX Runtime refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fxprune.deploy.lean.values import constant, insert, integers, made_by, replace, same, shape_constant, sizes

if TYPE_CHECKING:
    import onnx_ir as ir

    from fxprune.deploy.lean.values import Size

_RESHAPERS = ("Unsqueeze", "Expand", "Identity")


def simplify_masks(graph: ir.Graph) -> None:
    """Drop the parts of every conjunction that always hold, and gathers that change nothing but the number of axes."""
    for node in [node for node in graph if node.op_type in {"And", "GatherND"} and node.domain == ""]:
        simpler = _conjunction(graph, node) if node.op_type == "And" else _gathered(graph, node)
        if simpler is not None:
            replace(node.outputs[0], simpler)


def spread_masks(graph: ir.Graph) -> None:
    """Repeat masks of one row for every query: the standard broadcasts them, ONNX Runtime does not."""
    import numpy as np

    spread: dict[tuple[ir.Value, Size], ir.Value] = {}
    for node in [node for node in graph if node.op_type == "Attention" and node.domain == ""]:
        query, mask = node.inputs[0], node.inputs[3] if len(node.inputs) > 3 else None
        shape, rows = sizes(query), sizes(mask)
        if query is None or mask is None or shape is None or rows is None or len(rows) < 2 or rows[-2] != 1:
            continue
        axis = len(shape) - 2
        if shape[axis] == 1:
            continue
        key = (mask, shape[axis] if shape[axis] is not None else node.name)
        if key not in spread:
            length = insert(node, "Shape", [query], [1], like=shape_constant(graph, [1]), start=axis, end=axis + 1)
            one = constant(graph, np.array([1], dtype=np.int64), "one_column")
            target = insert(node, "Concat", [length, one], [2], axis=0)
            spread[key] = insert(node, "Expand", [mask, target], [*rows[:-2], shape[axis], rows[-1]])
        node.replace_input_with(3, spread[key])


def _conjunction(graph: ir.Graph, node: ir.Node) -> ir.Value | None:
    """Return the operand that decides, as large as both are together."""
    left, right = node.inputs
    for kept, dropped in ((left, right), (right, left)):
        if kept is not None and dropped is not None and _always(dropped):
            shape = insert(node, "Shape", [dropped], like=shape_constant(graph, [1]))
            return insert(node, "Expand", [kept, shape], sizes(node.outputs[0]))
    return None


def _always(value: ir.Value | None) -> bool:
    """Return whether every entry is known to be true."""
    import onnx_ir as ir

    if value is None:
        return False
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is not None:
        return bool(tensor.numpy().all())
    node = made_by(value, "And", "GreaterOrEqual", "Unsqueeze", "Expand", "Identity")
    if node is None:
        return False
    if node.op_type == "And":
        return all(map(_always, node.inputs))
    if node.op_type == "GreaterOrEqual":
        least, bound = _least(node.inputs[0]), integers(node.inputs[1])
        return least is not None and bound is not None and all(least >= number for number in bound)
    return _always(node.inputs[0])


def _least(value: ir.Value | None) -> int | None:
    """Return a number that no entry is below, for whole numbers counted upwards; None if there is none to know."""
    counted = _through(value, *_RESHAPERS)
    if counted is None:
        return None
    start, step = integers(counted.inputs[0]), integers(counted.inputs[2])
    return start[0] if start and step and step[0] > 0 else None


def _through(value: ir.Value | None, *ops: str) -> ir.Node | None:
    """Return the Range that `value` holds, behind `ops`."""
    node = made_by(value, "Range", *ops)
    while node is not None and node.op_type != "Range":
        node = made_by(node.inputs[0], "Range", *ops)
    return node


def _gathered(graph: ir.Graph, node: ir.Node) -> ir.Value | None:
    """Return the data with more axes, if each of its entries is gathered to its own place."""
    import numpy as np

    data, indices = node.inputs
    batch_dims = node.attributes.get("batch_dims")
    columns = made_by(indices, "Concat")
    shape, out = sizes(data), sizes(node.outputs[0])
    if data is None or columns is None or shape is None or out is None or (batch_dims and batch_dims.as_int()):
        return None
    axes = [_own_axis(column, size) for column, size in zip(columns.inputs, shape, strict=False)]
    places = [axis for axis in axes if axis is not None]
    if len(columns.inputs) != len(shape) or len(places) != len(shape) or places != sorted(set(places)):
        return None
    others = [axis for axis in range(len(out)) if axis not in places]
    if any(out[axis] != 1 for axis in others) or not same([out[axis] for axis in places], shape):
        return None
    name = "axes_" + "_".join(map(str, others))
    return insert(node, "Unsqueeze", [data, constant(graph, np.array(others, dtype=np.int64), name)], out)


def _own_axis(column: ir.Value | None, size: Size) -> int | None:
    """Return the one axis along which the indices count 0, 1, ... `size` - 1."""
    last = made_by(column, "Unsqueeze")  # makes the axis on which the columns are put side by side
    repeated = made_by(last.inputs[0], "Expand") if last is not None else None
    source = repeated.inputs[0] if repeated is not None else None
    counted, shape = _through(source, "Unsqueeze"), sizes(source)
    if counted is None or shape is None or integers(counted.inputs[0]) != [0] or integers(counted.inputs[2]) != [1]:
        return None
    axes = [axis for axis, found in enumerate(shape) if found != 1]
    return axes[0] if len(axes) == 1 and same([shape[axes[0]]], [size]) else None
