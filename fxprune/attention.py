"""Attention written out: a product of queries and keys, a softmax, and a product with the values.

The fused op says by its rule which axis is what; here the same is read off the ops around a softmax.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch.fx import GraphModule, Node

from fxprune.axes import Axis
from fxprune.inferred import Inferred, Line, Use
from fxprune.rules.notation import Name

aten = torch.ops.aten
FUSED = aten.scaled_dot_product_attention.default
_SOFTMAX = {aten.softmax.int, aten._softmax.default}
_PRODUCTS = {aten.matmul.default, aten.bmm.default, aten.baddbmm.default, aten.einsum.default}
_REACH = 16  # nodes between a product and the softmax: scaling, masks, position biases, casts


@dataclass(frozen=True, slots=True)
class Site:
    """One place where a model attends; each axis list holds one entry a product.

    Attributes:
        node: the fused op, or the softmax.
        products: what multiplies queries and keys.
    """

    node: Node
    products: tuple[Node, ...]
    heads: tuple[Axis, ...]
    qk: tuple[Axis, ...]
    value: tuple[Axis, ...]


def attention_sites(gm: GraphModule, found: Inferred) -> list[Site]:
    """Find where `gm` attends, fused or written out."""
    uses = {use.node: use for use in found.uses if use.node.target not in _PRODUCTS or len(use.lines) > 2}
    sites = (_site(node, uses) for node in gm.graph.nodes if node in uses)
    return [site for site in sites if site is not None]


def name_attention(gm: GraphModule, found: Inferred) -> None:
    """Note what the axes of attention that is written out mean."""
    for site in attention_sites(gm, found):
        if site.node.target is not FUSED:
            for role, axes in (("heads", site.heads), ("qk", site.qk), ("value", site.value)):
                found.roles.extend((axis, role) for axis in axes if axis)


def _site(node: Node, uses: dict[Node, Use]) -> Site | None:
    if node.target is FUSED:
        names = uses[node].names
        return Site(node, (node,), (names["h"],), (names["e"],), (names["v"],))
    if node.target not in _SOFTMAX:
        return None
    scores = [uses[made] for made in _nearest(node, backwards=True) if made in uses]
    mixed = [uses[user] for user in _nearest(node, backwards=False) if user in uses]
    if not scores or not mixed:
        return None  # a softmax over something else, such as the choice of an expert
    shared = [axis for use in scores for axis in _axes(use, _common(use) & _of(use.lines[-1]))]
    summed = [axis for use in scores for axis in _axes(use, _common(use) - _of(use.lines[-1]))]
    taken = [axis for use in mixed for axis in _axes(use, _of(use.lines[-1]) - _common(use) - _weights(use, node))]
    return Site(node, tuple(use.node for use in scores), tuple(shared), tuple(summed), tuple(taken))


def _nearest(node: Node, *, backwards: bool) -> list[Node]:
    """Return the products nearest to a softmax, through ops that keep its last axis."""
    todo, seen = [node], {node}
    products: list[Node] = []
    while todo and len(seen) < _REACH * 4:
        step = todo.pop(0)
        for other in step.all_input_nodes if backwards else step.users:
            if other in seen or other.op != "call_function":
                continue
            seen.add(other)
            if other.target in _PRODUCTS:
                products.append(other)
            elif other.target is not aten.linear.default and other.target not in _SOFTMAX:
                todo.append(other)
    return products


def _operands(use: Use) -> list[Line]:
    """Return the two factors of a product; what baddbmm adds is none of them."""
    return use.lines[-3:-1]


def _common(use: Use) -> set[str]:
    """Return the names that stand in both factors of a product."""
    left, right = map(_of, _operands(use))
    return left & right


def _weights(use: Use, softmax: Node) -> set[str]:
    """Return the names of the factor that comes from the softmax."""
    reached = _reaches(softmax)
    return set().union(*(_of(line) for line in _operands(use) if line.source in reached))


def _reaches(softmax: Node) -> set[Node]:
    todo, seen = [softmax], {softmax}
    while todo and len(seen) < _REACH * 4:
        for user in todo.pop(0).users:
            if user not in seen and user.target not in _PRODUCTS:
                seen.add(user)
                todo.append(user)
    return seen


def _of(line: Line) -> set[str]:
    return {pattern.name for pattern in line.dims() if isinstance(pattern, Name)}


def _axes(use: Use, names: Iterable[str]) -> Iterator[Axis]:
    return (use.names[name] for name in sorted(names) if name in use.names)
