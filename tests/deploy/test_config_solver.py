"""A config is found from the slim shapes, and what stands in the way is named when there is none."""

from __future__ import annotations

import pytest
import torch
import transformers

from fxprune.deploy.config_solver import changed_fields, solve_config
from fxprune.errors import DeployError


def shapes(model):
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def same_outputs(one, other, inputs):
    with torch.no_grad():
        return torch.equal(one(**inputs).logits, other(**inputs).logits)


def test_a_narrower_model_is_found_again(tiny):
    slim = tiny.build(tiny.slim_config)
    found = False
    for config in solve_config(tiny.cls, tiny.config, shapes(slim), tiny.hints):
        twin = tiny.cls(config).eval()
        assert shapes(twin) == shapes(slim)
        twin.load_state_dict(slim.state_dict())
        found = found or same_outputs(twin, slim, tiny.inputs())
    assert found


def test_the_first_candidate_without_a_cut_is_the_dense_config(tiny):
    config = next(solve_config(tiny.cls, tiny.config, shapes(tiny.build())))
    assert shapes(tiny.cls(config)) == shapes(tiny.build())
    assert set(changed_fields(tiny.config, config)) <= {"n_inner"}


def test_tied_names_may_be_left_out(bert):
    slim = bert.build(bert.slim_config)
    some = {name: tuple(parameter.shape) for name, parameter in slim.named_parameters()}
    assert "cls.predictions.decoder.weight" not in some
    config = next(solve_config(bert.cls, bert.config, some, bert.hints))
    assert config.hidden_size == 18


def test_a_head_count_comes_from_the_hints_where_no_shape_shows_it(bert):
    config = bert.cls.config_class(**{**bert.dense, "hidden_size": 24, "num_attention_heads": 4})
    slim = shapes(bert.cls(config))
    heads = [found.num_attention_heads for found in solve_config(bert.cls, bert.config, slim, {4: {4, 3, 2}})]
    assert heads == [4, 3, 2]
    assert [found.num_attention_heads for found in solve_config(bert.cls, bert.config, slim)] == [4]


def test_unequal_layers_are_refused_with_both_parameters(bert):
    slim = shapes(bert.build())
    for name in slim:
        if "layer.1" in name and ("intermediate" in name or "1.output.dense.weight" in name):
            slim[name] = tuple(40 if size == 72 else size for size in slim[name])
    with pytest.raises(DeployError, match="no config of BertForMaskedLM has the slim shapes") as refusal:
        solve_config(bert.cls, bert.config, slim)
    assert "intermediate_size alone sets these" in str(refusal.value)
    assert "layer.0" in refusal.value.cause
    assert "layer.1" in refusal.value.cause
    assert "72 -> 40" in refusal.value.cause


def test_heads_that_do_not_fill_the_hidden_size_are_refused(bert):
    slim = shapes(bert.build())
    for name in slim:
        if "self.query" in name or "self.key" in name:
            slim[name] = (24, *slim[name][1:])
    with pytest.raises(DeployError, match="hidden_size alone sets these"):
        solve_config(bert.cls, bert.config, slim, {4: {3}})


def test_a_fixed_axis_is_named():
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=72, image_size=16, patch_size=8
    )
    slim = shapes(transformers.ViTModel(config))
    slim["embeddings.cls_token"] = (1, 2, 32)
    with pytest.raises(DeployError, match=r"ViTModel changes axis 1 of embeddings\.cls_token from 1 to 2"):
        solve_config(transformers.ViTModel, config, slim)


def test_an_unknown_parameter_is_named(bert):
    with pytest.raises(DeployError, match=r"BertForMaskedLM has no parameter 'bert\.extra\.weight'"):
        solve_config(bert.cls, bert.config, {"bert.extra.weight": (3, 4)})


def test_a_product_nothing_gives_is_explained():
    config = transformers.LlamaConfig(
        vocab_size=99, hidden_size=32, intermediate_size=72, num_hidden_layers=1, num_attention_heads=4, head_dim=8
    )
    slim = shapes(transformers.LlamaModel(config))
    slim["layers.0.self_attn.q_proj.weight"] = (7, 32)
    slim["layers.0.self_attn.o_proj.weight"] = (32, 7)
    with pytest.raises(DeployError, match=r"no combination of config fields gives axis 0 of layers\.0"):
        solve_config(transformers.LlamaModel, config, slim)


def test_changed_fields_lists_nested_differences():
    dense = transformers.BertConfig()
    slim = transformers.BertConfig(hidden_size=240)
    assert changed_fields(dense, slim) == {"hidden_size": (768, 240)}
