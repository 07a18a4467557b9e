"""What cannot be narrowed where the result must load as its class."""

from __future__ import annotations

import pytest
import torch
import transformers

import fxprune
from fxprune.locks import locked_groups
from fxprune.widths import Constraints

LAYER = "encoder.layer.0.attention"


@pytest.fixture(scope="module")
def encoder() -> fxprune.Groups:
    """A BERT without a head: its hidden states are what it returns, so they stay."""
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
    model = transformers.BertModel(transformers.BertConfig(**sizes, num_hidden_layers=1)).eval()
    return fxprune.analyse(fxprune.capture(model, {"input_ids": torch.randint(0, 40, (5, 13))}))


def test_what_the_class_ties_to_an_axis_that_stays_stays_too(encoder: fxprune.Groups) -> None:
    hidden, queries = ("embeddings.LayerNorm.weight", 0), (f"{LAYER}.self.query.weight", 0)
    locked = locked_groups(encoder, Constraints(ratios=[{hidden, queries}]))
    assert locked.keys() == {f"{LAYER}.heads", f"{LAYER}.self.qk"}
    why = "the model class keeps it in proportion to embeddings.LayerNorm.weight[0], which stays"
    assert set(locked.values()) == {why}


def test_locks_spread_from_tie_to_tie(encoder: fxprune.Groups) -> None:
    hidden, queries = ("embeddings.LayerNorm.weight", 0), (f"{LAYER}.self.query.weight", 0)
    values, inner = (f"{LAYER}.self.value.weight", 0), ("encoder.layer.0.intermediate.dense.weight", 0)
    ties = [{values, inner}, {queries, values}, {hidden, queries}]
    tied = {f"{LAYER}.heads", f"{LAYER}.self.qk", f"{LAYER}.value", "encoder.layer.0.inner"}
    assert tied <= locked_groups(encoder, Constraints(ratios=ties)).keys()


def test_free_axes_lock_nothing(encoder: fxprune.Groups) -> None:
    inner = ("encoder.layer.0.intermediate.dense.weight", 0)
    assert locked_groups(encoder, Constraints()) == {}
    assert locked_groups(encoder, Constraints(ratios=[{inner}])) == {}


def test_a_headless_model_still_loads_as_its_class_after_a_cut(tmp_path) -> None:
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
    model = transformers.BertModel(transformers.BertConfig(**sizes, num_hidden_layers=1)).eval()
    inputs = {"input_ids": torch.randint(0, 40, (5, 13))}
    slim = fxprune.prune(model, inputs, ratio=0.5)
    slim.save(tmp_path)
    again = transformers.BertModel.from_pretrained(tmp_path).eval()
    assert (again.config.hidden_size, again.config.intermediate_size) == (16, 12)
    with torch.no_grad():
        torch.testing.assert_close(again(**inputs).last_hidden_state, slim(**inputs).last_hidden_state)
