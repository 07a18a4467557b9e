"""``fxprune explain``."""

from __future__ import annotations

import json

import pytest

QUERY = "bert.encoder.layer.0.attention.self.query.weight"
EXPLAIN = ("explain", "--model")


def test_two_axes_are_explained_by_the_nodes_between_them(run, bert):
    result = run(*EXPLAIN, bert, f"{QUERY}:0", QUERY.replace("query", "key") + ":0")
    assert result.exit_code == 0, result.output
    assert "coupled in group 'bert.encoder.layer.0.attention.heads' (4 units):" in result.stdout
    assert "scaled_dot_product_attention" in result.stdout
    assert "modeling_bert.py:" in result.stdout


def test_one_axis_is_explained_by_its_groups(run, bert):
    result = run(*EXPLAIN, bert, "cls.predictions.decoder.weight:0")
    assert "frozen: rows are picked by data at" in result.stdout
    assert "holds cls.predictions.decoder.bias[0]" in result.stdout


def test_the_answer_is_json_too(run, bert):
    told = json.loads(run(*EXPLAIN, bert, "hidden", "--json").stdout)
    assert told["groups"][0]["size"] == 32
    told = json.loads(run(*EXPLAIN, bert, f"{QUERY}:1", "bert.embeddings.LayerNorm.bias:0", "--json").stdout)
    assert told["coupled"]
    assert told["chains"][0]["steps"][0].keys() == {"node", "op", "module", "source"}


def test_a_typo_is_answered_with_the_nearest_names_and_2(run, bert):
    result = run(*EXPLAIN, bert, QUERY.replace("query", "qeury") + ":0")
    assert result.exit_code == 2
    assert f"did you mean '{QUERY}'" in result.stderr
    assert run(*EXPLAIN, bert, "hiden").exit_code == 2
    assert "3 axes were given" in run(*EXPLAIN, bert, "a", "b", "c").stderr


def test_the_model_may_stand_first(run, bert):
    named = run(*EXPLAIN, bert, "hidden")
    assert run("explain", bert, "hidden").stdout == named.stdout
    assert run("inspect", bert, "--json").stdout == run("inspect", "--model", bert, "--json").stdout


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["inspect"], "no model was given"),
        (["inspect", "a", "--model", "b"], "two models were given, 'b' and 'a'"),
        (["explain", "hidden"], "no axes were given"),
    ],
)
def test_one_model_must_be_given(run, call, said):
    result = run(*call)
    assert result.exit_code == 2
    assert said in result.stderr
