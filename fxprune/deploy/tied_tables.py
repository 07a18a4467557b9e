"""A table tied to the output in an int8 file: stored once, as the product has it, and rows are picked from that.

    logits = (x Q') s      and      table[i] ~ s_i Q_i

Q is int8 with a row for each token and s its scales, so the rows are nearer than with one scale for the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fxprune.deploy.weighted import picks_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, NodeProto

_LAST = "axis_behind"  # -1, for Unsqueeze


def store_once(path: Path, tied: Mapping[str, str], *, large: bool) -> None:
    """Let tables pick their rows from the int8 weights they are tied to; a product that stayed float keeps its table.

    Args:
        path: of an int8 file whose tables are float32, written anew.
        tied: name of a table (tokens, width) -> name the weight of its product had in float32.
        large: whether the weights lie beside the file.
    """
    import onnx
    from onnx import helper, numpy_helper

    if not tied:
        return
    model = onnx.load(path)
    graph = model.graph
    held = {one.name: one for one in graph.initializer}
    arrays = {name: numpy_helper.to_array(held[name]) for pair in tied.items() for name in _read(*pair) if name in held}
    for table, weight in tied.items():
        _, quantised, scale, zero = _read(table, weight)
        if quantised not in arrays or arrays[zero].any() or arrays[scale].shape != arrays[table].shape[:1]:
            continue
        rows = quantised
        if not _rebuilds(arrays[quantised], arrays[scale], arrays[table]):  # the product has it turned over
            rows = f"{quantised}_rows"
            graph.initializer.append(numpy_helper.from_array(arrays[quantised].T.copy(), rows))
            graph.initializer.remove(held[quantised])
            graph.node.insert(0, helper.make_node("Transpose", [rows], [quantised], name=f"{rows}_turned", perm=[1, 0]))
        for node in [node for node in graph.node if picks_rows(node) and node.input[0] == table]:
            _pick_int8(graph, node, rows, scale)
        if not any(table in node.input for node in graph.node):
            graph.initializer.remove(held[table])
    data = path.with_name(f"{path.name}.data")
    data.unlink(missing_ok=True)  # it would be appended to
    onnx.save(model, path, save_as_external_data=large, location=data.name)


def _read(table: str, weight: str) -> tuple[str, str, str, str]:
    """Return the names of a table, of the int8 weight of its product, its scales and its zero points."""
    return table, f"{weight}_quantized", f"{weight}_scale", f"{weight}_zero_point"


def _rebuilds(quantised: NDArray[Any], scale: NDArray[Any], table: NDArray[Any]) -> bool:
    """Whether it has a row for each token; of a square one the values tell."""
    import numpy as np

    if quantised.shape != table.shape or table.shape[0] != table.shape[1]:
        return quantised.shape == table.shape
    return bool(np.all(np.abs(quantised * scale[:, None] - table) <= 0.51 * scale[:, None]))


def _pick_int8(graph: GraphProto, node: NodeProto, rows: str, scale: str) -> None:
    """Write ``Gather(table, ids)`` as ``Gather(rows, ids) * Gather(scale, ids)``."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    ids, name = node.input[1], node.name
    if not any(one.name == _LAST for one in graph.initializer):
        graph.initializer.append(numpy_helper.from_array(np.array([-1]), _LAST))
    picked, of_row, behind, cast = (f"{name}_{part}" for part in ("int8", "scale", "scale_behind", "float"))
    made = [
        helper.make_node("Gather", [rows, ids], [picked], name=picked, axis=0),
        helper.make_node("Gather", [scale, ids], [of_row], name=of_row, axis=0),
        helper.make_node("Unsqueeze", [of_row, _LAST], [behind], name=behind),
        helper.make_node("Cast", [picked], [cast], name=cast, to=TensorProto.FLOAT),
        helper.make_node("Mul", [cast, behind], [node.output[0]], name=name),
    ]
    place = list(graph.node).index(node)
    graph.node.remove(node)
    for one in reversed(made):
        graph.node.insert(place, one)
