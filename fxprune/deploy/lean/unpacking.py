"""Products whose columns are taken apart, as a product for each part: what ``x W`` is split to is ``x W[:, part]``.

Parting a value copies it, by one thread, every time the model runs; a weight is parted once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fxprune.deploy.lean import values
from fxprune.deploy.lean.values import constant, insert, integers, ints, shape_constant, single_use, sizes

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import onnx_ir as ir

    from fxprune.deploy.lean.values import Size

_LEAST = 16  # columns of a part: the product of fewer takes longer than a copy of them


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A value that holds columns of a product, each once.

    Attributes:
        value: it.
        columns: their numbers, laid out as in the value; of size 1 along the axes the product has in front of them.
        places: which axes of the value those are, in the order of the product.
        lead: their sizes.
        width: how many columns the product has.
    """

    value: ir.Value
    columns: np.ndarray
    places: tuple[int, ...]
    lead: tuple[Size, ...]
    width: int

    @property
    def is_whole(self) -> bool:
        """Whether it still holds every column."""
        return self.columns.size == self.width


def unpack_products(graph: ir.Graph) -> None:
    """Part the weight of every product that is read by its parts only."""
    import numpy as np

    for node in [node for node in graph if node.op_type == "MatMul" and node.domain == ""]:
        weight, found = node.inputs[1], sizes(node.outputs[0])
        if weight is None or weight.const_value is None or not single_use(weight) or not found:
            continue
        *rows, width = weight.const_value.numpy().shape
        if len(rows) != 1:
            continue
        total, bias = _biased(node)
        axes = len(found) - 1
        columns = np.arange(width).reshape(*[1] * axes, width)
        whole = _Part(value=total, columns=columns, places=tuple(range(axes)), lead=found[:-1], width=width)
        parts = list(_parts(whole))
        read = np.concatenate([np.zeros(0, dtype=np.int64), *(part.columns.ravel() for part in parts)])
        once = len(np.unique(read)) == len(read)
        if once and len(parts) > 1 and all(part.columns.size >= _LEAST for part in parts):
            for number, part in enumerate(parts):
                _write(graph, node, bias, part, number)


def _biased(node: ir.Node) -> tuple[ir.Value, ir.Value | None]:
    """Return a product with its bias added, and the bias."""
    product = node.outputs[0]
    addition = next(iter(product.uses())).node if single_use(product) else None
    if addition is None or addition.op_type != "Add" or addition.domain != "":
        return product, None
    bias = next((value for value in addition.inputs if value is not product), None)
    if bias is None or bias.const_value is None or len(bias.const_value.shape) != 1:
        return product, None
    return addition.outputs[0], bias


def _parts(part: _Part) -> Iterator[_Part]:
    """Return what is read of `part`: parts of the product, or itself as soon as a reader takes it as it is."""
    readers = dict.fromkeys(use.node for use in part.value.uses())
    read = [_read(part, reader) for reader in readers]
    if part.value.is_graph_output() or any(one is None for one in read):
        yield part
        return
    for inner in [inner for one in read for inner in one or ()]:
        yield from _parts(inner)


def _read(part: _Part, reader: ir.Node) -> list[_Part] | None:
    """Return the outputs of `reader` as parts; None if they are none, and for parts of parts."""
    if reader.domain != "" or reader.inputs[0] is not part.value:
        return None
    readers = _TAKE_APART if part.is_whole else {"Squeeze": _squeeze}
    return readers[reader.op_type](part, reader) if reader.op_type in readers else None


def _axis(part: _Part, axis: int) -> int | None:
    """Return an axis counted from the front, if columns are on it."""
    axis %= part.columns.ndim
    return None if axis in part.places else axis


def _split(part: _Part, node: ir.Node) -> list[_Part] | None:
    import numpy as np

    attribute = node.attributes.get("axis")
    axis = _axis(part, attribute.as_int() if attribute is not None else 0)
    if axis is None:
        return None
    shapes = [sizes(output) for output in node.outputs]
    held = [size for shape in shapes if shape is not None and isinstance(size := shape[axis], int)]
    if len(held) < len(shapes) or sum(held) != part.columns.shape[axis]:
        return None
    pieces = np.split(part.columns, np.cumsum(held)[:-1], axis=axis)
    return [replace(part, value=value, columns=piece) for value, piece in zip(node.outputs, pieces, strict=True)]


def _slice(part: _Part, node: ir.Node) -> list[_Part] | None:
    starts, ends, axes, *steps = [integers(value) for value in node.inputs[1:]]
    if starts is None or ends is None or axes is None or any(step is None or set(step) != {1} for step in steps):
        return None
    columns = part.columns
    for start, end, axis in zip(starts, ends, axes, strict=True):
        found = _axis(part, axis)
        if found is None:
            return None
        columns = columns[(slice(None),) * found + (slice(start, end),)]
    return [replace(part, value=node.outputs[0], columns=columns)]


def _gather(part: _Part, node: ir.Node) -> list[_Part] | None:
    attribute, index = node.attributes.get("axis"), integers(node.inputs[1])
    axis = _axis(part, attribute.as_int() if attribute is not None else 0)
    if axis is None or index is None or len(index) != 1 or sizes(node.inputs[1]) != ():
        return None
    taken = replace(part, value=node.outputs[0], columns=part.columns.take(index, axis=axis))
    return [_without(taken, axis)]


def _squeeze(part: _Part, node: ir.Node) -> list[_Part] | None:
    found = integers(node.inputs[1]) if len(node.inputs) > 1 else None
    axes = [_axis(part, axis) for axis in found or ()]
    if not axes or None in axes:
        return None
    for axis in sorted((axis for axis in axes if axis is not None), reverse=True):
        part = _without(part, axis)
    return [replace(part, value=node.outputs[0])]


def _without(part: _Part, axis: int) -> _Part:
    places = tuple(place - (place > axis) for place in part.places)
    return replace(part, columns=part.columns.squeeze(axis), places=places)


def _reshape(part: _Part, node: ir.Node) -> list[_Part] | None:
    """Return the columns on other axes; those in front of them must stay what they are."""
    found, axes = sizes(node.outputs[0]), len(part.lead)
    if found is None or part.places != tuple(range(axes)) or not values.same(found[:axes], part.lead):
        return None
    rest = [size for size in found[axes:] if isinstance(size, int)]
    if len(rest) < len(found) - axes:
        return None
    return [replace(part, value=node.outputs[0], columns=part.columns.reshape(*[1] * axes, *rest))]


def _transpose(part: _Part, node: ir.Node) -> list[_Part] | None:
    order = ints(node, "perm") or tuple(reversed(range(part.columns.ndim)))
    places = tuple(order.index(place) for place in part.places)
    return [replace(part, value=node.outputs[0], columns=part.columns.transpose(order), places=places)]


_TAKE_APART = {
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Reshape": _reshape,
    "Transpose": _transpose,
}


def _write(graph: ir.Graph, node: ir.Node, bias: ir.Value | None, part: _Part, number: int) -> None:
    """Replace a part by a product of its own, with the axes it has."""
    import numpy as np

    source, weight = node.inputs
    assert weight is not None
    assert weight.const_value is not None
    others = [axis for axis in range(part.columns.ndim) if axis not in part.places]
    order = [*part.places, *others]
    inner = [part.columns.shape[axis] for axis in others]
    columns = part.columns.transpose(order).ravel()
    name, shape = f"{weight.name}_part_{number}", [*part.lead, columns.size]
    held = constant(graph, np.ascontiguousarray(weight.const_value.numpy()[:, columns]), name)
    found = insert(node, "MatMul", [source, held], shape)
    if bias is not None:
        assert bias.const_value is not None
        held = constant(graph, bias.const_value.numpy()[columns], f"{name}_bias")
        found = insert(node, "Add", [found, held], shape)
    if len(inner) != 1:
        target = shape_constant(graph, [*(0 for _ in part.lead), *inner])
        found = insert(node, "Reshape", [found, target], [*part.lead, *inner])
    if order != sorted(order):
        back = [order.index(axis) for axis in range(len(order))]
        found = insert(node, "Transpose", [found], sizes(part.value), perm=back)
    values.replace(part.value, found)
