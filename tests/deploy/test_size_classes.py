"""Which axes of a class are free, equal or fixed is found by building it, not by knowing it."""

from __future__ import annotations

import pytest
import transformers

from fxprune.deploy.probing import meta_sizes
from fxprune.deploy.size_classes import size_classes
from fxprune.errors import DeployError


def class_of(classes, axis):
    return next((group for group in classes.classes if axis in group), frozenset())


def test_classes_hold_for_a_narrower_model(tiny):
    classes = size_classes(tiny.cls, tiny.config)
    slim = meta_sizes(tiny.cls, tiny.slim_config)
    assert classes.sizes == meta_sizes(tiny.cls, tiny.config)
    for group in classes.classes:
        assert len({classes.sizes[axis] for axis in group}) == 1
        assert len({slim[axis] for axis in group}) == 1
    for group in classes.ratios:
        assert len({(slim[axis] / ratio) for axis, ratio in group.items()}) == 1
    assert {axis for axis in slim if slim[axis] != classes.sizes[axis]} <= classes.sizes.keys() - classes.fixed


def test_every_axis_is_in_one_class_or_fixed(tiny):
    classes = size_classes(tiny.cls, tiny.config)
    members = [axis for group in classes.classes for axis in group] + list(classes.fixed)
    assert sorted(members) == sorted(classes.sizes)


def test_probing_leaves_the_config_as_it_was(tiny):
    config = tiny.config
    before = config.to_dict()
    size_classes(tiny.cls, config)
    assert config.to_dict() == before


def test_bert_ties_heads_to_the_hidden_size_and_all_layers_to_one_inner_size(bert):
    classes = size_classes(bert.cls, bert.config)
    hidden = class_of(classes, ("bert.embeddings.word_embeddings.weight", 1))
    assert ("bert.encoder.layer.0.attention.self.query.weight", 0) in hidden
    assert ("bert.encoder.layer.1.attention.self.value.weight", 0) in hidden
    inner = class_of(classes, ("bert.encoder.layer.0.intermediate.dense.weight", 0))
    assert ("bert.encoder.layer.1.output.dense.weight", 1) in inner
    assert ("num_attention_heads",) in classes.silent


def test_llama_leaves_heads_free_of_the_hidden_size():
    config = transformers.LlamaConfig(
        vocab_size=99, hidden_size=32, intermediate_size=72, num_hidden_layers=2, num_attention_heads=4
    )
    classes = size_classes(transformers.LlamaForCausalLM, config)
    query = class_of(classes, ("model.layers.0.self_attn.q_proj.weight", 0))
    assert query == class_of(classes, ("model.layers.1.self_attn.o_proj.weight", 1))
    assert ("model.embed_tokens.weight", 1) not in query
    assert ("model.layers.0.self_attn.k_proj.weight", 0) not in query


def test_a_derived_inner_size_is_a_class_of_its_own():
    config = transformers.GPT2Config(vocab_size=99, n_embd=32, n_layer=2, n_head=4)
    assert config.n_inner is None
    classes = size_classes(transformers.GPT2LMHeadModel, config)
    inner = class_of(classes, ("transformer.h.0.mlp.c_fc.weight", 1))
    assert ("transformer.h.0.mlp.c_fc.weight", 0) not in inner
    assert classes.config.n_inner == 128
    fused = next(group for group in classes.ratios if ("transformer.h.0.attn.c_attn.weight", 1) in group)
    assert fused[("transformer.h.0.attn.c_attn.weight", 1)] == 3 * fused[("transformer.wte.weight", 1)]


def test_two_fields_that_only_move_together_are_found():
    config = transformers.ElectraConfig(
        vocab_size=99,
        embedding_size=32,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=72,
    )
    classes = size_classes(transformers.ElectraModel, config)
    pair = next(move for move in classes.moves if len(move.fields) == 2)
    assert set(pair.fields) == {("embedding_size",), ("hidden_size",)}
    assert ("embeddings.word_embeddings.weight", 1) in class_of(
        classes, ("encoder.layer.0.attention.self.query.weight", 0)
    )


def test_nested_configs_and_lists_are_walked():
    text = {
        "hidden_size": 32,
        "intermediate_size": 72,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "vocab_size": 99,
    }
    vision = {**text, "hidden_size": 40, "image_size": 16, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    classes = size_classes(transformers.CLIPModel, config)
    fields = {path for move in classes.moves for path in move.fields}
    assert {("text_config", "hidden_size"), ("vision_config", "hidden_size"), ("projection_dim",)} <= fields
    assert ("visual_projection.weight", 0) in class_of(classes, ("text_projection.weight", 0))


def test_sizes_in_lists_are_found():
    two = {"depths": [1, 1], "sr_ratios": [2, 1], "patch_sizes": [7, 3], "strides": [4, 2], "mlp_ratios": [4, 4]}
    config = transformers.SegformerConfig(
        num_encoder_blocks=2, hidden_sizes=[8, 16], num_attention_heads=[1, 2], decoder_hidden_size=24, **two
    )
    moves = size_classes(transformers.SegformerModel, config).moves
    assert ("hidden_sizes", 1) in {path for move in moves for path in move.fields}


def test_an_axis_no_field_moves_is_fixed():
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=72, image_size=16, patch_size=8
    )
    classes = size_classes(transformers.ViTModel, config)
    assert ("embeddings.cls_token", 0) in classes.fixed
    assert ("embeddings.cls_token", 2) not in classes.fixed


def test_a_config_the_class_refuses_is_an_error():
    config = transformers.BertConfig(vocab_size=99, hidden_size=32, num_attention_heads=4)
    config.num_attention_heads = 5
    with pytest.raises(DeployError, match="BertModel cannot be built from its own config"):
        size_classes(transformers.BertModel, config)


def test_a_hidden_size_that_must_be_a_multiple_of_the_heads_is_told():
    config = transformers.LlamaConfig(
        vocab_size=99, hidden_size=32, intermediate_size=72, num_hidden_layers=1, num_attention_heads=4, head_dim=10
    )
    (demand,) = size_classes(transformers.LlamaForCausalLM, config).multiples
    assert (demand.field, demand.value) == (("num_attention_heads",), 4)
    assert ("model.embed_tokens.weight", 1) in demand.axes
    assert ("model.layers.0.mlp.up_proj.weight", 0) not in demand.axes


def test_a_class_without_such_a_demand_has_none():
    config = transformers.T5Config(vocab_size=99, d_model=32, d_kv=10, d_ff=72, num_layers=1, num_heads=4)
    assert size_classes(transformers.T5EncoderModel, config).multiples == []


def test_an_axis_of_no_size_is_in_no_proportion():
    config = transformers.MobileBertConfig(vocab_size=99, hidden_size=32, embedding_size=32, num_hidden_layers=1)
    classes = size_classes(transformers.MobileBertForMaskedLM, config)
    assert [axis for axis, size in classes.sizes.items() if size == 0]
    assert all(size for group in classes.ratios for size in group.values())
