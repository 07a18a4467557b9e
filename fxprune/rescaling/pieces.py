"""Weights that hold several, such as queries, keys and values in one: which rows belong to which part."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from fxprune.calls import bound_arguments, is_tensor, results_of
from fxprune.rules.table import overload
from fxprune.traced import aliases_of, tensor_of

aten = torch.ops.aten
_NAMES = """
    alias clone contiguous flatten.using_ints permute reshape squeeze squeeze.dim to.dtype transpose.int unflatten.int
    unsqueeze view _unsafe_view
"""
_VIEWS = {overload(name) for name in _NAMES.split()}
_PARTS = {aten.select.int, aten.slice.Tensor, aten.index.Tensor}
_LISTS = {aten.split.Tensor, aten.split_with_sizes.default, aten.unbind.int, aten.chunk.default}
# places of operand, weight and bias; the dimension of the weight that holds the outputs
_OUTPUTS: dict[object, tuple[int, int, int | None, int]] = {
    aten.linear.default: (0, 1, 2, 0),
    aten.addmm.default: (1, 2, 0, 1),
    aten.matmul.default: (0, 1, None, 1),
}
_TURNS = {aten.numpy_T.default, aten.t.default}


@dataclass(frozen=True, eq=False)
class Piece:
    """Rows of a weight that are read apart from its others.

    Attributes:
        places: names of the parameters that hold it, weight and bias, and the dimension of each the rows are on.
        rows: int64 (n,).
        operand: what the weight is multiplied with before the product is taken apart; None if the weight itself is.
    """

    places: tuple[tuple[str, int], ...]
    rows: Tensor
    operand: Node | None = None


def pieces_of(gm: GraphModule) -> dict[Node, Piece]:
    """Return the nodes that take a part of a weight, or of a product with one, of which nothing reads the whole.

    Parts that share a row are one piece.
    """
    found: dict[Node, Piece] = {}
    for node in gm.graph.nodes:
        if node.op == "get_attr" and (name := own_parameter(gm, node)) is not None:
            found |= _taken_apart(gm, node, Piece(((name, 0),), torch.empty(0)), 0)
        elif node.target in _OUTPUTS and (whole := _product(gm, node)) is not None:
            found |= _taken_apart(gm, node, whole, -1)
    return found


def own_parameter(gm: GraphModule, node: object) -> str | None:
    """Return the name of a parameter that `node` reads, and no other node under this name or another."""
    if not isinstance(node, Node) or node.op != "get_attr" or not is_tensor(node):
        return None
    name = str(node.target)
    alone = len(aliases_of(gm, name)) == len(gm.graph.find_nodes(op="get_attr", target=name)) == 1
    return name if alone and isinstance(tensor_of(gm, name), nn.Parameter) else None


def _product(gm: GraphModule, node: Node) -> Piece | None:
    """Return all outputs of a product, if nothing else reads its weight and bias."""
    *places, dim = _OUTPUTS[node.target]
    operand, weight, bias = (_argument(node, place) for place in places)
    if weight is not None and weight.target in _TURNS and len(weight.users) == 1:
        weight, dim = _argument(weight, 0), 1 - dim
    held = [(value, of) for value, of in ((weight, dim), (bias, -1)) if value is not None]
    names = [(own_parameter(gm, value), of) for value, of in held if len(value.users) == 1]
    if operand is None or weight is None or len(names) < len(held) or any(name is None for name, _ in names):
        return None
    return Piece(tuple((str(name), of) for name, of in names), torch.empty(0), operand)


def _argument(node: Node, place: int | None) -> Node | None:
    found = node.args[place] if place is not None and place < len(node.args) else None
    return found if isinstance(found, Node) else None


def _taken_apart(gm: GraphModule, base: Node, whole: Piece, dim: int) -> dict[Node, Piece]:
    paths = list(_parts(base))
    if len(paths) < 2 or None in paths:
        return {}
    rows = [_rows(gm, base, path, dim) for path in paths if path is not None]
    groups: list[tuple[list[Node], Tensor]] = []
    for path, own in zip(paths, rows, strict=True):
        if own is None:
            return {}
        touching = [group for group in groups if torch.isin(own, group[1]).any()]
        groups = [group for group in groups if all(group is not one for one in touching)]
        members = [path[-1], *(node for group in touching for node in group[0])]  # type: ignore[index]
        groups.append((members, torch.cat([own, *(group[1] for group in touching)]).unique()))
    pieces = [(members, replace(whole, rows=own)) for members, own in groups]
    return {node: piece for members, piece in pieces for node in members}


def _parts(node: Node, path: tuple[Node, ...] = ()) -> Iterator[tuple[Node, ...] | None]:
    """Yield the nodes from a base to each part of it; None for a reader of the whole."""
    for user in node.users:
        here = (*path, user)
        if _takes_all(user) or user.target in _VIEWS or user.target in _LISTS:
            yield from _parts(user, here)
        elif user.target in _PARTS or node.target in _LISTS:
            yield here
        elif results_of(user) is not None or user.op == "output":
            yield None


def _takes_all(node: Node) -> bool:
    """Tell a slice from the first position to the last, as ``x[:, 1]`` makes one of its first dimension."""
    if node.target is not aten.slice.Tensor:
        return False
    own = bound_arguments(node)
    return own["start"] in (None, 0) and own["end"] in (None, sys.maxsize) and own["step"] == 1


def _rows(gm: GraphModule, base: Node, path: tuple[Node, ...], dim: int) -> Tensor | None:
    """Return which rows of `base` are in a part: the views are run on their numbers, with free sizes 1."""
    shape = [size if type(size) is int else 1 for size in base.meta["val"].shape]
    along = [-1 if place == dim % len(shape) else 1 for place in range(len(shape))]
    known: dict[Node, Any] = {base: torch.arange(shape[dim]).view(along).expand(shape)}
    for node in path:
        for one in node.all_input_nodes:
            known.setdefault(one, _constant(gm, one))
        args = map_arg(node.args, known.__getitem__)
        try:  # a cast would make the numbers inexact
            known[node] = args[0] if node.target is aten.to.dtype else node.target(*args, **node.kwargs)  # type: ignore[operator]
        except (RuntimeError, TypeError, IndexError):
            return None
    rows = known[path[-1]]
    return rows.unique() if isinstance(rows, Tensor) else None


def _constant(gm: GraphModule, node: Node) -> Any:
    """Return a tensor of the graph, 1 for a free size, None for what is computed."""
    if not is_tensor(node):
        return 1
    while node.target is aten.lift_fresh_copy.default:
        node = node.all_input_nodes[0]
    return tensor_of(gm, str(node.target)) if node.op == "get_attr" else None
