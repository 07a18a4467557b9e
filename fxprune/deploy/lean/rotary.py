"""Rotary tables whose batch the exporter forgot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fxprune.deploy.lean.values import constant, insert, sizes

if TYPE_CHECKING:
    import onnx_ir as ir


def expand_caches(graph: ir.Graph) -> None:
    """Repeat rotary tables of batch 1 for every row: RotaryEmbedding does not broadcast, what it was made from did."""
    import numpy as np

    for node in [node for node in graph if node.op_type == "RotaryEmbedding" and node.domain == ""]:
        if len(node.inputs) > 3 and node.inputs[3] is not None:  # tables are looked up by position
            continue
        for place in (1, 2):
            table = node.inputs[place]
            found = sizes(table)
            if table is None or found is None or len(found) != 3 or found[0] != 1:
                continue
            batch = insert(node, "Shape", [node.inputs[0]], [1], start=0, end=1)
            batch.type = None
            ones = constant(graph, np.array([1, 1], dtype=np.int64), "ones_2")
            target = insert(node, "Concat", [batch, ones], [3], like=ones, axis=0)
            batch.type = ones.type
            rows = sizes(node.inputs[0])
            node.replace_input_with(
                place, insert(node, "Expand", [table, target], [rows[0] if rows else None, *found[1:]])
            )
