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

    The other way round, a view computes 4 * batch itself (heads folded with the batch), for that 4 is no literal.

    A ``view(b, s, -1, 64)`` over a head_dim that was cut to 32 still runs, with the heads mixed up: a size nobody
    wrote down cannot be corrected. Numerics: exact.
    """

    def call(self, gm: GraphModule) -> PassResult:
        stale = {node: explicit for node in gm.graph.nodes if (explicit := _explicit(node)) is not None}
        for node, (target, args) in stale.items():
            node.target, node.args, node.kwargs = target, args, {}
        return PassResult(gm, modified=bool(stale))

    def ensures(self, gm: GraphModule) -> None:
        assert all(_explicit(node) is None for node in gm.graph.nodes)


def _explicit(node: Node) -> tuple[object, tuple[object, ...]] | None:
    """Return the same call with its sizes written down; None where they are."""
    if node.target in VIEWS:
        return _view(node)
    if node.target in SPLITS:
        return _split(node)
    return _slice(node) if node.target is aten.slice.Tensor else None


def _view(node: Node) -> tuple[object, tuple[object, ...]] | None:
    arguments = bound_arguments(node)
    given = list(arguments[VIEWS[node.target]])  # type: ignore[index]
    out = _out_shapes(node)[0]
    sizes = [size if known == -1 and isinstance(size, int) else known for known, size in zip(given, out, strict=True)]
    if -1 not in sizes:  # the free one may stay computed, and one like 4 * batch must be: no rewriter owns that 4
        counted = (place for place, size in enumerate(out) if isinstance(sizes[place], Node) and _is_counted(size))
        if (place := next(counted, None)) is not None:
            sizes[place] = -1
    return None if sizes == given else (node.target, (arguments["self"], sizes))


def _is_counted(size: Size) -> bool:
    return not isinstance(size, int) and size.coefficient != 1


def _split(node: Node) -> tuple[object, tuple[object, ...]] | None:
    arguments = bound_arguments(node)
    dim = arguments["dim"]
    sizes = [shape[dim] for shape in _out_shapes(node)]
    if not all(isinstance(size, int) for size in sizes):
        return None
    return aten.split_with_sizes.default, (arguments["self"], sizes, dim)


def _slice(node: Node) -> tuple[object, tuple[object, ...]] | None:
    arguments = bound_arguments(node)
    dim, start, end = arguments["dim"], arguments["start"], arguments["end"]
    size = shape_of(arguments["self"].meta["val"])[dim]
    if not isinstance(size, int) or any(isinstance(bound, Node) for bound in (start, end)):
        return None
    front = _from_front(start, size, 0)
    back = max(_from_front(end, size, size), front)
    if (front, back) == (start, end):
        return None
    return node.target, (arguments["self"], dim, front, back, arguments["step"])


def _from_front(bound: int | None, size: int, default: int) -> int:
    """Return a bound of a slice as a position: negative ones count from the end."""
    if bound is None:
        return default
    return min(max(bound + size if bound < 0 else bound, 0), size)


def _out_shapes(node: Node) -> list[tuple[Size, ...]]:
    results = results_of(node)
    assert results is not None
    return [shape_of(result) for result in results]
