"""The dependency graph: parameter axes, and the graph nodes that couple them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from typing import TypeAlias

import networkx as nx

from fxprune.axes import Factor, factors_of
from fxprune.calls import is_item
from fxprune.groups import Groups
from fxprune.inferred import Inferred, Line, Use
from fxprune.rules.notation import names_of


def dependency_graph(groups: Groups) -> nx.MultiGraph:
    """Return the graph of parameter axes; an edge carries the group and the number of graph nodes between the two.

    Each axis is joined to the nearest ones only: the graph shows what coupled what, not every pair.
    """
    graph = nx.MultiGraph()
    ops = couplings(groups.inferred)
    for group in groups:
        for member in group.members:
            graph.add_node((member.tensor, member.axis))
        flow = flow_of(ops, group.factor)
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


def couplings(inferred: Inferred) -> Couplings:
    """Return, for each factor, the ops whose rules name it: what holds one name is one dimension."""
    found: dict[Factor, list[tuple[Use, str]]] = defaultdict(list)
    for use in inferred.uses:
        for name, axis in use.names.items():
            for factor in dict.fromkeys(factors_of(axis)):
                found[factor].append((use, name))
    return found


def flow_of(ops: Couplings, factor: Factor) -> nx.Graph:
    """Return the way of one factor through the graph: the tensors that hold it, joined by the ops that relate them."""
    flow = nx.Graph()
    for use, name in ops.get(factor, []):
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
