"""What an ONNX file says of itself: size, opsets, nodes, and how many rows its tables of ids have."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fxprune.deploy.external_data import check_external_data

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import GraphProto, NodeProto

    from fxprune.deploy.onnx import OnnxExport

_KEEPS_VALUES = ("Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze", "Flatten")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFacts:
    """Attributes:
    bytes: of the file and of the weights beside it.
    opsets: domain -> version; the standard one is "".
    nodes: of the graph.
    ops: how many of each.
    rows: input -> number of rows of the smallest table it picks from.
    """

    bytes: int
    opsets: Mapping[str, int]
    nodes: int
    ops: Mapping[str, int]
    rows: Mapping[str, int]


def read_facts(path: Path) -> OnnxFacts:
    """Read the graph of a file that ONNX Runtime has loaded; weights beside it are not read."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    return OnnxFacts(
        bytes=path.stat().st_size + sum(file.stat().st_size for file in check_external_data(path)),
        opsets={entry.domain: entry.version for entry in model.opset_import},
        nodes=len(model.graph.node),
        ops=dict(Counter(node.op_type for node in model.graph.node).most_common()),
        rows=_rows(model.graph),
    )


def export_facts(export: OnnxExport) -> dict[str, Any]:
    """Return what there is to say of a file that was just exported, as plain data."""
    return {
        "opset": export.opset,
        "rung": export.rung,
        "max_error": export.max_error,
        "nodes": export.nodes,
        "fused": dict(export.fused),
    }


def _rows(graph: GraphProto) -> dict[str, int]:
    tables = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    made_by = {output: node for node in graph.node for output in node.output}
    inputs = {value.name for value in graph.input}
    rows: dict[str, int] = {}
    for node in graph.node:
        if node.op_type != "Gather":
            continue
        table, ids = node.input[0], _origin(node.input[1], made_by)
        if (maker := made_by.get(table)) is not None and maker.op_type == "DequantizeLinear":
            table = maker.input[0]
        if ids in inputs and table in tables:
            rows[ids] = min(tables[table], rows.get(ids, tables[table]))
    return rows


def _origin(name: str, made_by: Mapping[str, NodeProto]) -> str:
    while (node := made_by.get(name)) is not None and node.op_type in _KEEPS_VALUES:
        name = node.input[0]
    return name
