"""The dependency graph: parameter axes, and the graph nodes that couple them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Mapping
from typing import TypeAlias

import networkx as nx
from torch.fx import Node

from fxprune.axes import Factor, factors_of
from fxprune.calls import is_item, module_of, source_of
from fxprune.errors import AnalysisError
from fxprune.groups import Group, Groups
from fxprune.inferred import Inferred, Line, Use
from fxprune.rules.notation import names_of

_AXIS = re.compile(r"(?P<name>.+)\[(?P<axis>\d+)\]")


def parse_axis(text: tuple[str, int] | str) -> tuple[str, int]:
    """Read ``"encoder.layer.0.dense.weight[1]"``.

    Raises:
        AnalysisError: the text has another form.
    """
    if isinstance(text, tuple):
        return text
    match = _AXIS.fullmatch(text.strip())
    if match is None:
        raise AnalysisError(f"{text!r} names no axis", remedy="write it as 'parameter.name[axis]', with axes from 0")
    return match["name"], int(match["axis"])


def dependency_graph(groups: Groups) -> nx.MultiGraph:
    """Return the graph of parameter axes; an edge carries the group and the number of graph nodes between the two.

    Each axis is joined to the nearest ones only: the graph shows what coupled what, not every pair.
    """
    graph = nx.MultiGraph()
    couplings = _couplings(groups.inferred)
    for group in groups:
        for member in group.members:
            graph.add_node((member.tensor, member.axis))
        flow = _flow(couplings, group.factor)
        axes: list[Place] = [("tensor", member.tensor, member.axis) for member in group.members]
        for tree in nx.connected_components(flow):
            present = [axis for axis in axes if axis in tree]
            for left, right, distance in _nearest(flow, present):
                graph.add_edge(left[1:], right[1:], group=group.name, nodes=distance)
    return graph


def _nearest(flow: nx.Graph, axes: list[Place]) -> list[tuple[Place, Place, int]]:
    """Return the edges of a spanning tree over `axes`, by distance in `flow` (one Voronoi sweep)."""
    if len(axes) < 2:
        return []
    distance, paths = nx.multi_source_dijkstra(flow, axes)
    owner = {node: path[0] for node, path in paths.items()}
    closest = nx.Graph()
    for u, v in flow.edges:
        a, b = owner[u], owner[v]
        if a != b:
            length = distance[u] + distance[v] + 1
            if not closest.has_edge(a, b) or closest[a][b]["weight"] > length:
                closest.add_edge(a, b, weight=length)
    tree = nx.minimum_spanning_edges(closest, data=True)
    return [(a, b, int(data["weight"])) for a, b, data in tree]


Place: TypeAlias = tuple[str, Hashable, int]  # ("tensor", parameter, dimension) or ("value", (node, result), dimension)
Couplings: TypeAlias = Mapping[Factor, list[tuple[Use, str]]]


def _couplings(inferred: Inferred) -> Couplings:
    """Return, for each factor, the ops whose rules name it: what holds one name is one dimension."""
    found: dict[Factor, list[tuple[Use, str]]] = defaultdict(list)
    for use in inferred.uses:
        for name, axis in use.names.items():
            for factor in dict.fromkeys(factors_of(axis)):
                found[factor].append((use, name))
    return found


def _flow(couplings: Couplings, factor: Factor) -> nx.Graph:
    """The way of one factor through the graph: the tensors that hold it, joined by the ops that relate them."""
    flow = nx.Graph()
    for use, name in couplings.get(factor, []):
        for line in use.lines:
            for dim, pattern in enumerate(line.dims()):
                if name in names_of(pattern) and factor in factors_of(line.axes[dim]):
                    flow.add_edge(("op", use.node, name), _place(line, dim))
    return flow


def _place(line: Line, dim: int) -> Place:
    if line.source.op == "get_attr":
        return ("tensor", str(line.source.target), dim)
    if is_item(line.source):
        return ("value", line.source.args, dim)
    return ("value", (line.source, line.result), dim)


def explain(groups: Groups, a: tuple[str, int] | str, b: tuple[str, int] | str) -> str:
    """See `Groups.explain`."""
    given = [parse_axis(a), parse_axis(b)]
    left, right = (groups.axis(*axis) for axis in given)
    head = [f"{name}[{dim}] = {groups.spell(axis)}" for (name, dim), axis in zip(given, (left, right), strict=True)]
    first, second = ((groups.canonical(name), dim) for name, dim in given)
    shared = [factor for factor in dict.fromkeys(factors_of(left)) if factor in factors_of(right)]
    if not shared:
        return "\n".join([*head, "not coupled: they share no group, so each can be cut without the other"])
    lines = head
    for factor in shared:
        lines += _chain(groups, groups.by_factor[factor], first, second)
    return "\n".join(lines)


def _chain(groups: Groups, group: Group, first: tuple[str, int], second: tuple[str, int]) -> list[str]:
    flow = _flow(_couplings(groups.inferred), group.factor)
    start, end = ("tensor", *first), ("tensor", *second)
    title = f"coupled in group {group.name!r} ({group.size} units):"
    if start == end:
        return [title, "  the same axis"]
    path = nx.shortest_path(flow, start, end)
    steps = [_step(place[1]) for place in path if place[0] == "op"]
    return [title, *steps]


def _step(node: Node) -> str:
    line = f"  {node.name} = {node.target}"
    where = "  ".join(part for part in (module_of(node), source_of(node)) if part)
    return f"{line}    {where}" if where else line
