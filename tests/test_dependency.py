from __future__ import annotations

import networkx as nx
import pytest
from models import ALL, traced_of

from fxprune.dependency import dependency_graph
from fxprune.groups import analyse


@pytest.mark.parametrize("name", ALL)
def test_everything_in_a_group_is_connected_and_nothing_else(name: str) -> None:
    groups = analyse(traced_of(name))
    graph = dependency_graph(groups)
    for group in groups:
        edges = [(a, b) for a, b, data in graph.edges(data=True) if data["group"] == group.name]
        tree = nx.Graph(edges)
        tree.add_nodes_from((member.tensor, member.axis) for member in group.members)
        assert nx.is_connected(tree), group.name
        assert len(tree) == len(group.members)
        assert len(edges) == len(group.members) - 1, "a spanning tree: the nearest ones only"
