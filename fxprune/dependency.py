"""The dependency graph: parameter axes, and the graph nodes that couple them."""

from __future__ import annotations

import re
from collections.abc import Hashable

import networkx as nx
from torch.fx import Node

from fxprune.axes import Factor, factors_of
from fxprune.calls import module_of, source_of
from fxprune.errors import AnalysisError
from fxprune.groups import Group, Groups

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
    for group in groups:
        for member in group.members:
            graph.add_node((member.tensor, member.axis))
        flow = _flow(groups, group.factor)
        axes = [("tensor", member.tensor, member.axis) for member in group.members]
        for tree in nx.connected_components(flow):
            present = [axis for axis in axes if axis in tree]
            for left, right, distance in _nearest(flow, present):
                graph.add_edge(left[1:], right[1:], group=group.name, nodes=distance)
    return graph


def _nearest(flow: nx.Graph, axes: list[tuple[str, str, int]]) -> list[tuple[tuple, tuple, int]]:
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


def _flow(groups: Groups, factor: Factor) -> nx.Graph:
    """The way of one factor through the graph: tensors that hold it, joined by the nodes that relate them."""
    flow = nx.Graph()
    inferred = groups.inferred
    holds: dict[Node, list[Hashable]] = {}
    for node, results in inferred.axes.items():
        tensor = str(node.target) if node.op == "get_attr" else ""
        places: list[Hashable] = []
        for axes in results:
            for dim, axis in enumerate(axes):
                if factor in factors_of(axis):
                    places.append(("tensor", tensor, dim) if tensor else ("value", node, dim))
        if places:
            holds[node] = places
            flow.add_nodes_from(places)
    for node in inferred.axes:
        touched = [place for operand in node.all_input_nodes for place in holds.get(operand, [])]
        touched += holds.get(node, []) if node.op != "get_attr" else []
        if len(touched) > 1:
            flow.add_edges_from((("op", node), place) for place in touched)
    return flow


def explain(groups: Groups, a: tuple[str, int] | str, b: tuple[str, int] | str) -> str:
    """See `Groups.explain`."""
    first, second = parse_axis(a), parse_axis(b)
    left, right = groups.axis(*first), groups.axis(*second)
    head = [
        f"{first[0]}[{first[1]}] = {groups.spell(left)}",
        f"{second[0]}[{second[1]}] = {groups.spell(right)}",
    ]
    shared = [factor for factor in dict.fromkeys(factors_of(left)) if factor in factors_of(right)]
    if not shared:
        return "\n".join([*head, "not coupled: they share no group, so each can be cut without the other"])
    lines = head
    for factor in shared:
        lines += _chain(groups, groups.by_factor[factor], first, second)
    return "\n".join(lines)


def _chain(groups: Groups, group: Group, first: tuple[str, int], second: tuple[str, int]) -> list[str]:
    flow = _flow(groups, group.factor)
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
