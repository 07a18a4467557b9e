"""Write views that take their sizes from another tensor with the sizes themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch._ops import OpOverload
from torch.fx import Graph, GraphModule, Node

from fxprune.passes.base import Pass, PassResult

aten = torch.ops.aten
_PLAIN: Mapping[object, OpOverload] = {
    aten.reshape_as.default: aten.reshape.default,
    aten.view_as.default: aten.view.default,
}


@dataclass(frozen=True, repr=False)
class PlainViews(Pass):
    """Replace ``reshape_as`` and ``view_as`` by views to the same sizes.

    Two tensors of one shape need not have the same units: a rotary embedding lays pairs side by side in the one and
    interleaves them in the other. Numerics: exact.
    """

    def call(self, gm: GraphModule) -> PassResult:
        found = [node for node in gm.graph.nodes if node.target in _PLAIN]
        for node in found:
            tensor, other = node.args
            with gm.graph.inserting_before(node):
                sizes = [_size(gm.graph, other, dim) for dim in range(other.meta["val"].ndim)]
            node.target, node.args = _PLAIN[node.target], (tensor, sizes)
        return PassResult(gm, modified=bool(found))

    def ensures(self, gm: GraphModule) -> None:
        assert all(node.target not in _PLAIN for node in gm.graph.nodes)


def _size(graph: Graph, tensor: Node, dim: int) -> int | Node:
    """Return a literal, or a node that reads a free size."""
    size = tensor.meta["val"].shape[dim]
    if isinstance(size, int):
        return size
    read = graph.call_function(aten.sym_size.int, (tensor, dim))
    read.meta["val"] = size
    return read
