from __future__ import annotations

import json

import pytest
from models import ALL, traced_of

from fxprune.errors import AnalysisError
from fxprune.explanation import parse_axis
from fxprune.groups import analyse

QUERY, KEY = "bert.encoder.layer.0.attention.self.query.weight", "bert.encoder.layer.0.attention.self.key.weight"


def _ops(text: object) -> list[str]:
    return [line.split("aten.")[1].split(".")[0] for line in str(text).splitlines() if " = aten." in line]


def test_a_coupling_is_explained_by_its_shortest_chain_of_nodes() -> None:
    text = analyse(traced_of("bert")).explain((QUERY, 0), (KEY, 0))
    lines = str(text).splitlines()
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
        "bert.embeddings.word_embeddings.weight:1", "cls.predictions.transform.dense.weight:1"
    )
    assert _ops(text)[0] == "embedding"
    assert _ops(text).count("linear") == 1
    assert _ops(text).count("layer_norm") == 5


def test_axes_without_a_common_group_are_not_coupled() -> None:
    groups = analyse(traced_of("bert"))
    answer = groups.explain(f"{QUERY}:0", "bert.encoder.layer.1.attention.self.query.weight:0")
    assert str(answer).endswith("not coupled: they share no group, so each can be cut without the other")
    assert answer.to_data()["coupled"] is False
    assert "not coupled" in str(groups.explain((QUERY, 0), (QUERY, 1)))


def test_an_axis_is_coupled_with_itself_and_its_aliases() -> None:
    groups = analyse(traced_of("tied_three_ways"))
    assert str(groups.explain("tokens.weight[1]", "head.weight[1]")).endswith("the same axis")


def test_a_group_lists_all_it_holds() -> None:
    groups = analyse(traced_of("bert"))
    (facts,) = groups.explain("hidden").groups
    assert set(facts.members) == set(map(str, groups["hidden"].members))
    assert str(groups.explain("hidden")).count("\n  holds ") == len(facts.members)
    assert facts.frozen == ()


def test_a_group_and_an_axis_may_be_asked_for_together() -> None:
    groups = analyse(traced_of("bert"))
    answer = str(groups.explain("hidden", f"{QUERY}:1"))
    assert answer.endswith("coupled in group 'hidden' (32 units):\n  the group holds this axis")
    assert "not coupled" in str(groups.explain("hidden", f"{QUERY}:0"))


def test_what_is_frozen_says_by_which_nodes_and_how_they_are_reached() -> None:
    groups = analyse(traced_of("no_rule"))
    (facts,) = groups.explain("up.weight:0").groups
    (reason,) = facts.frozen
    assert reason.reason == "no rule for aten.sort.default"
    assert (reason.at.node, reason.at.module) == ("sort", "sorter")
    assert reason.at.source.endswith("return x.sort(dim=-1).values")
    assert [step.op for step in reason.way] == ["aten.linear.default"]
    text = str(groups.explain("up.weight:0"))
    assert "  frozen: no rule for aten.sort.default at\n    sort = aten.sort.default    sorter  handmade.py:" in text


def test_a_frozen_group_has_all_of_its_reasons() -> None:
    (facts,) = analyse(traced_of("bert")).explain("cls.predictions.decoder.weight:0").groups
    assert [reason.reason for reason in facts.frozen] == ["rows are picked by data", "model output"]
    assert [step.op for step in facts.frozen[1].way] == ["aten.linear.default"]


@pytest.mark.parametrize("name", ALL)
def test_every_reason_is_found_from_every_frozen_group(name: str) -> None:
    groups = analyse(traced_of(name))
    for group in groups:
        (facts,) = groups.explain(group.name).groups
        assert bool(facts.frozen) == bool(group.frozen)
        if group.frozen:
            assert group.frozen.reason in [reason.reason for reason in facts.frozen]
    json.dumps(groups.explain(group.name).to_data())


def test_an_axis_is_a_name_and_a_number() -> None:
    assert parse_axis("a.b.weight[1]") == parse_axis("a.b.weight:1") == ("a.b.weight", 1)
    assert parse_axis(("a", 0)) == ("a", 0)
    for wrong in ("a.b.weight", "a[b]", "[1]", "a[1] b", "a:b", ":1"):
        with pytest.raises(AnalysisError, match=r"names no axis\n  remedy  write it as 'parameter.name:axis'"):
            parse_axis(wrong)


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ("both.wieght:0", r"unknown parameter 'both.wieght'; did you mean 'both.weight'\?"),
        ("both.weight", r"'both.weight' has 2 axes\n  remedy  say which, as in 'both.weight:0'"),
        ("both.weight:2", "both.weight has 2 axes, so no axis 2"),
        ("iner", r"unknown group 'iner'; did you mean 'inner'\?"),
    ],
)
def test_what_does_not_exist_is_answered_with_what_is_near(asked: str, complaint: str) -> None:
    with pytest.raises(AnalysisError, match=complaint):
        analyse(traced_of("fused_glu")).explain(asked)


def test_many_names_are_not_listed_but_counted() -> None:
    with pytest.raises(AnalysisError) as refusal:
        analyse(traced_of("bert")).explain("query.weight:0")
    assert "did you mean 'bert.encoder.layer.0.attention.self.query.weight'" in refusal.value.message
    assert refusal.value.message.endswith(" are known")
    assert len(refusal.value.message) < 300
