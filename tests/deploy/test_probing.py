"""A class is asked for its shapes without weights, and says no in its own way."""

from __future__ import annotations

from fractions import Fraction

import pytest
import transformers

from fxprune.deploy.probing import CURVED, OTHER_PARAMETERS, REFUSED, Move, Probe, meta_sizes

CONFIG = transformers.ViTConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=72, image_size=24, patch_size=8
)


@pytest.fixture(scope="module")
def probe():
    return Probe(transformers.ViTModel, CONFIG, meta_sizes(transformers.ViTModel, CONFIG))


def test_an_axis_follows_its_field_on_a_line(probe):
    move = probe.move({("intermediate_size",): 72})
    assert isinstance(move, Move)
    assert set(move.effect.values()) == {(Fraction(0), Fraction(72))}
    assert {name.rpartition(".")[0].rpartition(".")[2] for name, _ in move.effect} == {"fc1", "fc2"}


def test_every_no_has_its_reason(probe):
    assert probe.move({("num_hidden_layers",): 2}) == OTHER_PARAMETERS
    assert probe.move({("image_size",): 24}) == CURVED
    assert probe.move({("hidden_size",): 0}) == REFUSED


def test_a_refusal_is_an_answer(probe, bert):
    assert Probe(bert.cls, bert.config, {}).sizes({("hidden_size",): 33}) is None
    assert probe.sizes({}) == probe.dense


def test_nothing_is_allocated():
    config = transformers.LlamaConfig(
        hidden_size=8192, intermediate_size=28672, num_hidden_layers=2, num_attention_heads=64
    )
    assert meta_sizes(transformers.LlamaForCausalLM, config)[("model.embed_tokens.weight", 1)] == 8192
