"""Make every size the rewriter must own a plain non-negative literal."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.fx import GraphModule, Node

from fxprune.calls import bound_arguments, results_of, shape_of
from fxprune.passes.base import Pass, PassResult
from fxprune.sizes import Size

aten = torch.ops.aten
VIEWS = {aten.view.default: "size", aten.reshape.default: "shape", aten._unsafe_view.default: "size"}
SPLITS = {aten.chunk.default, aten.split.Tensor, aten.unsafe_chunk.default}


@dataclass(frozen=True, repr=False)
class ExplicitSizes(Pass):
    """Resolve ``-1`` in views, count slices from the front, and turn chunk and split into split_with_sizes.

    A ``view(b, s, -1, 64)`` over a head_dim that was cut to 32 still runs, with the heads mixed up: a size nobody
    wrote down cannot be corrected. Numerics: exact.
    """

    def call(self, gm: GraphModule) -> PassResult:
        changed = False
        for node in gm.graph.nodes:
            if node.target in VIEWS:
                changed |= _resolve_view(node)
            elif node.target in SPLITS:
                changed |= _sized_split(node)
            elif node.target is aten.slice.Tensor:
                changed |= _count_from_front(node)
        return PassResult(gm, modified=changed)

    def ensures(self, gm: GraphModule) -> None:
        assert not any(_resolve_view(node) for node in gm.graph.nodes if node.target in VIEWS)


def _out_shape(node: Node) -> tuple[Size, ...]:
    results = results_of(node)
    assert results is not None
    return shape_of(results[0])


def _resolve_view(node: Node) -> bool:
    given = list(node.args[1])  # type: ignore[arg-type]
    if -1 not in given:
        return False
    size = _out_shape(node)[given.index(-1)]
    if not isinstance(size, int):
        return False  # the free one: it may stay computed
    given[given.index(-1)] = size
    node.update_arg(1, given)
    return True


def _sized_split(node: Node) -> bool:
    results = results_of(node)
    arguments = bound_arguments(node)
    dim = arguments["dim"]
    assert results is not None
    sizes = [shape_of(result)[dim] for result in results]
    if not all(isinstance(size, int) for size in sizes):
        return False
    node.target = aten.split_with_sizes.default
    node.args, node.kwargs = (node.args[0], sizes, dim), {}
    return True


def _count_from_front(node: Node) -> bool:
    arguments = bound_arguments(node)
    dim = arguments["dim"]
    size = shape_of(arguments["self"].meta["val"])[dim]
    start, end = arguments["start"], arguments["end"]
    if not isinstance(size, int) or any(isinstance(bound, Node) for bound in (start, end)):
        return False
    front = min(start + size if (start or 0) < 0 else start or 0, size)
    back = size if end is None else max(min(end + size if end < 0 else end, size), front)
    if (front, back) == (start, end):
        return False
    node.args, node.kwargs = (node.args[0], dim, front, back, arguments["step"]), {}
    return True
