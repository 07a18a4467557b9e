"""Fields are found wherever a config keeps them, and changed in a copy."""

from __future__ import annotations

import pytest
import transformers

from fxprune.deploy.config_fields import empty_fields, field_name, integer_fields, with_fields

CLIP = transformers.CLIPConfig(text_config={"hidden_size": 32}, vision_config={"hidden_size": 48}, projection_dim=24)


def test_integers_of_nested_configs_and_lists_are_found():
    fields = integer_fields(CLIP)
    assert (fields[("text_config", "hidden_size")], fields[("vision_config", "hidden_size")]) == (32, 48)
    assert integer_fields(transformers.SegformerConfig())[("hidden_sizes", 2)] == 160


def test_ids_switches_and_fields_of_every_config_are_left_out():
    names = {path[-1] for path in integer_fields(transformers.BertConfig())}
    assert "hidden_size" in names
    assert names.isdisjoint({"pad_token_id", "use_cache", "chunk_size_feed_forward", "is_decoder"})


def test_empty_fields_are_listed():
    assert ("n_inner",) in empty_fields(transformers.GPT2Config())


def test_fields_are_set_in_a_copy():
    changed = with_fields(CLIP, {("text_config", "hidden_size"): 16, ("projection_dim",): 8})
    assert (changed.text_config.hidden_size, changed.projection_dim) == (16, 8)
    assert (CLIP.text_config.hidden_size, CLIP.projection_dim) == (32, 24)
    segformer = with_fields(transformers.SegformerConfig(), {("hidden_sizes", 2): 8})
    assert segformer.hidden_sizes[2] == 8


def test_what_could_not_be_loaded_again_is_refused_at_once():
    config = transformers.LlamaConfig(hidden_size=32, num_attention_heads=4)
    with pytest.raises(Exception, match="not a multiple of the number of attention"):
        with_fields(config, {("hidden_size",): 33})


def test_a_path_prints_as_one_would_write_it():
    assert field_name(("text_config", "hidden_sizes", 2)) == "text_config.hidden_sizes[2]"
