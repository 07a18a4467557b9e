from __future__ import annotations

import networkx as nx
import pytest
from models import ALL, traced_of

from fxprune.dependency import dependency_graph, parse_axis
from fxprune.errors import AnalysisError
from fxprune.groups import analyse

QUERY, KEY = "bert.encoder.layer.0.attention.self.query.weight", "bert.encoder.layer.0.attention.self.key.weight"


def _ops(text: str) -> list[str]:
    return [line.split("aten.")[1].split(".")[0] for line in text.splitlines() if " = aten." in line]


def test_a_coupling_is_explained_by_its_shortest_chain_of_nodes() -> None:
    text = analyse(traced_of("bert")).explain((QUERY, 0), (KEY, 0))
    lines = text.splitlines()
    heads, qk = "bert.encoder.layer.0.attention.heads", "bert.encoder.layer.0.attention.self.qk"
    assert lines[0] == f"{QUERY}[0] = {heads} x {qk}"
    assert lines[2] == f"coupled in group '{heads}' (4 units):"
    once = ["linear", "view", "transpose", "scaled_dot_product_attention", "transpose", "view", "linear"]
    assert _ops(text) == once * 2, "once for the heads, once for the dims"
    assert "modeling_bert.py:" in lines[3]
    assert "bert.encoder.layer.0.attention.self.query" in lines[3]


def test_a_chain_does_not_jump_from_the_inputs_of_a_layer_to_its_outputs() -> None:
    """The last dense layer maps the stream to itself: its two axes are one group, but not because of this layer."""
    text = analyse(traced_of("bert")).explain(
        "bert.embeddings.word_embeddings.weight[1]", "cls.predictions.transform.dense.weight[1]"
    )
    assert _ops(text)[0] == "embedding"
    assert _ops(text).count("linear") == 1
    assert _ops(text).count("layer_norm") == 5


def test_axes_without_a_common_group_are_not_coupled() -> None:
    groups = analyse(traced_of("bert"))
    text = groups.explain(f"{QUERY}[0]", "bert.encoder.layer.1.attention.self.query.weight[0]")
    assert text.endswith("not coupled: they share no group, so each can be cut without the other")
    assert "not coupled" in groups.explain((QUERY, 0), (QUERY, 1))


def test_an_axis_is_coupled_with_itself_and_its_aliases() -> None:
    groups = analyse(traced_of("tied_three_ways"))
    assert groups.explain("tokens.weight[1]", "head.weight[1]").endswith("the same axis")


def test_an_axis_is_a_name_and_a_number() -> None:
    assert parse_axis("a.b.weight[1]") == ("a.b.weight", 1)
    assert parse_axis(("a", 0)) == ("a", 0)
    for wrong in ("a.b.weight", "a[b]", "[1]", "a[1] b"):
        with pytest.raises(AnalysisError, match=r"names no axis\n  remedy  write it as 'parameter.name\[axis\]'"):
            parse_axis(wrong)
    with pytest.raises(AnalysisError, match="unknown parameter"):
        analyse(traced_of("fused_glu")).explain("nope[0]", "both.weight[0]")


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
