"""Rotary tables whose batch the exporter forgot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fxprune.deploy.lean.values import constant, insert, sizes

if TYPE_CHECKING:
    import onnx_ir as ir

    from fxprune.deploy.lean.values import Size


def expand_caches(graph: ir.Graph) -> None:
    """Repeat rotary tables of batch 1 for every row: RotaryEmbedding does not broadcast, what it was made from did."""
    made: dict[tuple[ir.Value, Size], ir.Value] = {}
    for node in [node for node in graph if node.op_type == "RotaryEmbedding" and node.domain == ""]:
        if len(node.inputs) > 3 and node.inputs[3] is not None:  # tables are looked up by position
            continue
        rows = (sizes(node.inputs[0]) or (None,))[0]
        for place in (1, 2):
            table = node.inputs[place]
            found = sizes(table)
            if table is None or (found is not None and found[0] != 1):
                continue
            repeated = made.get((table, rows)) if rows is not None else None
            repeated = repeated or _for_each_row(graph, node, table, rows)
            made[table, rows] = repeated
            node.replace_input_with(place, repeated)


def _for_each_row(graph: ir.Graph, node: ir.Node, table: ir.Value, rows: Size) -> ir.Value:
    """Broadcast to the batch of `node`; of a table whose size is unknown nothing changes if it had that already."""
    import numpy as np

    ones = constant(graph, np.array([1, 1], dtype=np.int64), "ones_2")
    batch = insert(node, "Shape", [node.inputs[0]], [1], like=ones, start=0, end=1)
    target = insert(node, "Concat", [batch, ones], [3], axis=0)
    found = sizes(table)
    return insert(node, "Expand", [table, target], [rows, *found[1:]] if found else None)
