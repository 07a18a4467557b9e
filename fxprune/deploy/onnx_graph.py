"""What an exported ONNX graph still needs: axes with names, no traces of this machine, shared weights stored once."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir
    from numpy import ndarray

    from fxprune.shapes import Dims

_SMALL = 2**10  # entries; below it a second copy is cheaper than a node


def tidy(model: ir.Model, dims: Dims, names: Mapping[str, Mapping[int, str]]) -> dict[str, tuple[str | int, ...]]:
    """Name the free sizes, drop source locations, share transposed weights; return the sizes of the inputs.

    Args:
        model: changed in place.
        dims: input -> dimension -> Dim, as given to `torch.export`.
        names: input -> dimension -> name, where another than the Dim's is wanted.
    """
    _name_axes(model.graph, dims, names)
    _forget_sources(model)
    _share_transposed(model.graph)
    return {
        str(value.name): tuple(size if isinstance(size, int) else str(size.value) for size in value.shape or ())
        for value in model.graph.inputs
    }


def _name_axes(graph: ir.Graph, dims: Dims, names: Mapping[str, Mapping[int, str]]) -> None:
    """Call the free sizes `batch` and `length` instead of s43 and s53, everywhere in the graph."""
    symbols: dict[str, str] = {}
    for value in graph.inputs:
        spec: Any = dims.get(str(value.name))
        for axis, size in enumerate(value.shape or ()):
            dim = spec.get(axis) if isinstance(spec, dict) else None
            name = names.get(str(value.name), {}).get(axis) or getattr(dim, "__name__", None)
            if name and not isinstance(size, int):
                symbols.setdefault(str(size.value), name)
    for value in [*graph.inputs, *(value for node in graph.all_nodes() for value in node.outputs)]:
        _rename_axes(value, symbols)


def _rename_axes(value: Any, symbols: Mapping[str, str]) -> None:
    if value.shape is None or value.shape.is_static():
        return
    value.shape = type(value.shape)(
        [
            size
            if isinstance(size, int) or size.value is None  # unknown, and not the same as another unknown one
            else re.sub(r"\w+", lambda word: symbols.get(word[0], word[0]), str(size.value))
            for size in value.shape
        ]
    )


def _forget_sources(model: ir.Model) -> None:
    """Drop the stack traces the exporter adds: paths of this machine, and most of the bytes of a small file."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    for value in model.graph.initializers.values():
        value.metadata_props.clear()


def _share_transposed(graph: ir.Graph) -> None:
    """Store a weight once that the exporter folded into itself and its transpose: an embedding tied to the output.

    ONNX Runtime folds the transpose when it loads the file, so that nothing is slower for it.
    """
    import onnx_ir as ir

    candidates: dict[tuple[int, ...], list[ir.Value]] = defaultdict(list)
    for value in graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and len(tensor.shape) == 2 and tensor.size > _SMALL:
            candidates[tuple(tensor.shape.numpy())].append(value)
    for shape, values in candidates.items():
        for copy in list(values):
            others = (value for value in candidates.get(shape[::-1], ()) if value is not copy and value.uses())
            original = next((value for value in others if _is_transposed(value, copy)), None)
            if original is None or not str(copy.name).startswith("val_"):  # the exporter's name for what it folded
                continue
            node = ir.node("Transpose", [original], attributes={"perm": [1, 0]}, name=f"{copy.name}_shared")
            node.outputs[0].shape, node.outputs[0].type = copy.shape, copy.type
            graph.insert_before(graph[0], node)
            ir.convenience.replace_all_uses_with(copy, node.outputs[0])
            graph.initializers.pop(str(copy.name))
            node.outputs[0].name = copy.name


def _is_transposed(one: ir.Value, other: ir.Value) -> bool:
    """Compare a row with a column first: almost all pairs end there."""
    import numpy as np

    assert one.const_value is not None
    assert other.const_value is not None
    left: ndarray = one.const_value.numpy()
    right: ndarray = other.const_value.numpy()
    return bool(np.array_equal(left[0], right[:, 0]) and np.array_equal(left, right.T))
