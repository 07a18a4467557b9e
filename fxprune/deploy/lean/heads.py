"""Attention on (batch, length, heads x size): the op splits heads itself, faster than four transposes around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fxprune.deploy.lean.values import insert, integers, made_by, permutes, replace, same, shape_constant, sizes

if TYPE_CHECKING:
    import onnx_ir as ir

    from fxprune.deploy.lean.values import Size

_SWAP = (0, 2, 1, 3)  # (batch, length, heads, size) <-> (batch, heads, length, size)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flat:
    """A value of (batch, heads, length, size), found as (batch, length, heads x size)."""

    value: ir.Value
    heads: int


def fold_heads(graph: ir.Graph) -> None:
    """Rewrite every Attention on four axes whose operands come from three, so that it reads those."""
    for node in [node for node in graph if node.op_type == "Attention" and node.domain == ""]:
        found = [_flat(value) for value in node.inputs[:3]]
        query, key, value = found
        plain = not any(node.inputs[4:]) and not any(output.uses() for output in node.outputs[1:])
        if plain and query is not None and key is not None and value is not None and key.heads == value.heads:
            _rewrite(graph, node, query, key, value)


def _rewrite(graph: ir.Graph, node: ir.Node, query: _Flat, key: _Flat, value: _Flat) -> None:
    old = node.outputs[0]
    rows, length = (sizes(query.value) or (None, None))[:2]
    size = (sizes(node.inputs[2]) or (None,))[-1]
    assert isinstance(size, int)
    attributes = {name: attribute for name, attribute in node.attributes.items() if not name.endswith("num_heads")}
    new = insert(
        node,
        "Attention",
        [query.value, key.value, value.value, *node.inputs[3:4]],
        [rows, length, query.heads * size],
        q_num_heads=query.heads,
        kv_num_heads=key.heads,
    )
    made = new.producer()
    assert made is not None
    made.attributes.update(attributes)
    for use in list(old.uses()):
        if permutes(use.node, *_SWAP):
            _join(graph, use.node.outputs[0], new, query.heads, size)
    if old.uses() or old.is_graph_output():
        split = insert(node, "Reshape", [new, shape_constant(graph, [0, 0, query.heads, size])])
        replace(old, insert(node, "Transpose", [split], sizes(old), perm=_SWAP))


def _join(graph: ir.Graph, merged: ir.Value, new: ir.Value, heads: int, size: int) -> None:
    """Replace `merged`, of (batch, length, heads, size), and where it is reshaped to what `new` is, that too."""
    found = sizes(merged)
    for use in list(merged.uses()):
        out = use.node.outputs[0]
        wanted = sizes(out)
        if use.node.op_type == "Reshape" and found and wanted and same(wanted, [*found[:2], heads * size]):
            replace(out, new)
    if merged.uses() or merged.is_graph_output():
        node = merged.producer()
        assert node is not None
        replace(merged, insert(node, "Reshape", [new, shape_constant(graph, [0, 0, heads, size])], found))


def _flat(value: ir.Value | None) -> _Flat | None:
    """Find `value` before its heads were split off; None if it never was that way."""
    shape = sizes(value)
    if value is None or shape is None or len(shape) != 4:
        return None
    heads, size = shape[1], shape[3]
    if not isinstance(heads, int) or not isinstance(size, int):
        return None
    node = made_by(value, "Transpose", "RotaryEmbedding", "Reshape")
    if node is None:
        return None
    if node.op_type == "RotaryEmbedding":
        return _flat_rotary(node, heads)
    if node.op_type == "Reshape":
        return _flat_repeated(node)
    return (
        _Flat(value=_before_split(node.inputs[0], heads, size, node), heads=heads) if permutes(node, *_SWAP) else None
    )


def _before_split(split: ir.Value | None, heads: int, size: int, reader: ir.Node) -> ir.Value:
    """Return `split`, of (batch, length, heads, size), with the last two axes as one."""
    assert split is not None
    node, shape = made_by(split, "Reshape"), sizes(split)
    assert shape is not None
    wanted: list[Size] = [*shape[:2], heads * size]
    if node is not None and node.inputs[0] is not None and same(sizes(node.inputs[0]) or (), wanted):
        return node.inputs[0]
    assert reader.graph is not None
    return insert(reader, "Reshape", [split, shape_constant(reader.graph, [0, 0, heads * size])], wanted)


def _flat_rotary(node: ir.Node, heads: int) -> _Flat | None:
    import onnx_ir as ir

    inner = _flat(node.inputs[0])
    if inner is None or inner.heads != heads:
        return None
    turned = insert(node, "RotaryEmbedding", [inner.value, *node.inputs[1:]], sizes(inner.value))
    made = turned.producer()
    assert made is not None
    made.attributes.update(node.attributes)
    made.attributes["num_heads"] = ir.AttrInt64("num_heads", heads)
    return _Flat(value=turned, heads=heads)


def _flat_repeated(node: ir.Node) -> _Flat | None:
    """See through heads that are repeated, even once, for grouped queries: the op does that itself."""
    repeated = made_by(node.inputs[0], "Expand", "Unsqueeze")
    expanded = repeated is not None and repeated.op_type == "Expand"
    single = made_by(repeated.inputs[0], "Unsqueeze") if repeated is not None and expanded else repeated
    if repeated is None or single is None or integers(single.inputs[1]) != [2]:
        return None
    before, after, whole = sizes(single.inputs[0]), sizes(repeated.outputs[0]), sizes(node.outputs[0])
    if before is None or after is None or whole is None or len(before) != 4 or len(after) != 5:
        return None
    rows, heads, times, *rest = after
    if not isinstance(heads, int) or not isinstance(times, int):
        return None
    grouped = same(before, [rows, heads, *rest]) and same(whole, [rows, heads * times, *rest])
    return _flat(single.inputs[0]) if grouped else None
