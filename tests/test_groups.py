from __future__ import annotations

from pathlib import Path

import pytest
from models import ALL, inputs_of, traced_of

from fxprune.axes import Factor, factors_of
from fxprune.errors import AnalysisError
from fxprune.groups import analyse, byproducts, feature_outputs, spell
from fxprune.passes import CANONICAL, run_passes
from fxprune.tracing import capture

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_groups_are_as_reviewed(name: str) -> None:
    """A change here is a change of what is cut together: look at it before you store it."""
    groups = analyse(traced_of(name))
    lines = [groups.to_text(), "", *(f"{inner} may be ragged under {outer}" for inner, outer in groups.ragged.items())]
    assert "\n".join([*lines, ""]) == (GOLDEN / f"groups_{name}.txt").read_text()


def test_the_residual_stream_is_one_group_with_every_tensor_it_runs_through() -> None:
    groups = analyse(traced_of("bert"))
    members = {str(member) for member in groups["hidden"].members}
    assert "cls.predictions.decoder.weight[1]" in members  # tied to the word embeddings
    assert "bert.embeddings.LayerNorm.bias[0]" in members
    assert "bert.encoder.layer.1.output.dense.weight[0]" in members
    assert "bert.encoder.layer.1.output.dense.weight[1]" not in members


def test_rotary_frequencies_couple_the_dims_of_all_layers() -> None:
    groups = analyse(traced_of("llama"))
    qk = groups["model.qk"]
    assert qk.size == 4, "index j removes j and j + 4"
    assert "model.rotary_emb.inv_freq[0]" in map(str, qk.members)
    query = groups.axis("model.layers.0.self_attn.q_proj.weight", 0)
    prefix = "model.layers.0.self_attn"
    assert groups.spell(query) == f"{prefix}.heads x {prefix}.queries_per_key x (model.qk | model.qk)"


def test_a_tied_tensor_answers_to_all_its_names() -> None:
    groups = analyse(traced_of("tied_three_ways"))
    axes = {groups.axis(name, 1) for name in ("tokens.weight", "head.weight", "other.head.weight")}
    assert len(axes) == 1
    with pytest.raises(AnalysisError, match=r"unknown parameter 'token.weight'; did you mean 'tokens.weight'\?"):
        groups.axis("token.weight", 0)


@pytest.mark.parametrize(
    ("name", "reason", "node", "module"),
    [
        ("no_rule", "no rule for aten.sort.default", "sort", "sorter"),
        ("bert", "rows are picked by data", "embedding", "bert.embeddings.word_embeddings"),
        ("bert", "a slice of symbolic length", "slice_1", "bert.embeddings"),
        ("head_pairs", "softmax runs over it", "softmax", ""),
        ("picks_features", "rows are picked by data", "index", ""),
        ("counts_features", "its values are computed from positions", "arange", ""),
        ("conv_stem", "a filter slides over it", "conv2d", "stem"),
        ("rotary", "model input", "x", ""),
        ("rotary", "model output", "output", ""),
        ("two_axis_norm", "every position is used on its own", "unbind", ""),
    ],
)
def test_what_may_not_be_cut_says_why_and_where(name: str, reason: str, node: str, module: str) -> None:
    frozen = [group.frozen for group in analyse(traced_of(name)) if group.frozen]
    assert (reason, node, module) in [(why.reason, why.node, why.module) for why in frozen]


def test_the_reason_names_the_line_of_model_code() -> None:
    (up,) = (group for group in analyse(traced_of("no_rule")) if group.name.startswith("up."))
    assert up.frozen is not None
    assert up.frozen.source.startswith("handmade.py:")
    assert up.frozen.source.endswith("return x.sort(dim=-1).values")
    assert str(up.frozen) == "no rule for aten.sort.default at sort, sorter"


def test_an_op_without_a_rule_freezes_only_what_it_touches() -> None:
    groups = analyse(traced_of("no_rule"))
    assert [group.size for group in groups.prunable] == [24]


@pytest.mark.parametrize("name", ALL)
def test_names_are_unique_and_members_have_the_size_of_their_group(name: str) -> None:
    groups = analyse(traced_of(name))
    assert len({group.name for group in groups}) == len(groups)
    for group in groups:
        assert group.members
        assert groups[group.name] is group
        for member in group.members:
            assert group.factor in factors_of(groups.axis(member.tensor, member.axis))


def test_unknown_names_list_the_known_ones() -> None:
    groups = analyse(traced_of("fused_glu"))
    assert "inner" in groups
    assert "outer" not in groups
    with pytest.raises(AnalysisError, match=r"unknown group 'iner'; did you mean 'inner'\? known: enter.axis1, inner"):
        groups["iner"]
    with pytest.raises(AnalysisError, match=r"both.weight has 2 axes, so no axis 2"):
        groups.axis("both.weight", 2)


def test_axes_are_spelt_with_group_names() -> None:
    groups = analyse(traced_of("fused_glu"))
    assert groups.spell(groups.axis("both.weight", 0)) == "(inner#2 | inner#2)"
    assert spell((), {}) == "1"
    assert spell((Factor(5),), {}) == "5"


RAGGED = {
    "bert": 4,
    "rotary": 1,  # the values only: a stored tensor holds the frequencies of queries and keys for all heads
    "talking_heads": 1,  # queries and keys only: the values of all heads are mixed dim by dim
    "head_pairs": 0,  # a dim of one head is multiplied with the same dim of another
    "einsum_attention": 0,  # heads and dims are axes of their own in the weights
    "folded_heads": 2,
}


@pytest.mark.parametrize("name", RAGGED)
def test_dims_may_be_ragged_under_heads_only_where_heads_never_meet(name: str) -> None:
    groups = analyse(traced_of(name))
    assert len(groups.ragged) == RAGGED[name], groups.ragged
    assert all(groups[inner].frozen is None and groups[outer].frozen is None for inner, outer in groups.ragged.items())


# ---- outputs


def test_outputs_stay_whole_unless_freed() -> None:
    traced = traced_of("fused_glu")
    assert [group.size for group in analyse(traced).prunable] == [24, 16]
    freed = analyse(traced, free_outputs=True)
    assert sorted(group.size for group in freed.prunable) == [3, 16, 24]


def test_features_beside_predictions_are_byproducts() -> None:
    translator = traced_of("t5")
    assert byproducts(translator) == feature_outputs(translator) == frozenset({1})
    assert analyse(translator)["hidden"].frozen is None
    assert analyse(translator, free_outputs=False)["hidden"].frozen is not None


def test_features_that_are_all_a_model_returns_are_its_contract() -> None:
    import transformers

    config = transformers.BertConfig(
        vocab_size=99, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48
    )
    traced = capture(transformers.BertModel(config), inputs_of("bert"))
    run_passes(traced, CANONICAL)
    assert feature_outputs(traced) == frozenset({0, 1})
    assert byproducts(traced) == frozenset()
    assert analyse(traced)["hidden"].frozen is not None
    assert analyse(traced, free_outputs={0, 1})["hidden"].frozen is None
