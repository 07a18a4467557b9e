from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import nn

from fxprune.errors import SourceError
from fxprune.examples import example_inputs

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
TEXT = SMALL | {"vocab_size": 101, "max_position_embeddings": 64}
SIDES = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4}
SIDES |= {"decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "vocab_size": 101}

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "BertForMaskedLM": ("BertConfig", TEXT),
    "RobertaForMaskedLM": ("RobertaConfig", TEXT),
    "GPT2LMHeadModel": ("GPT2Config", {"vocab_size": 101, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4}),
    "LlamaForCausalLM": ("LlamaConfig", TEXT),
    "T5ForConditionalGeneration": (
        "T5Config",
        {"vocab_size": 101, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    ),
    "BartForConditionalGeneration": ("BartConfig", SIDES | {"max_position_embeddings": 64}),
    "WhisperForConditionalGeneration": (
        "WhisperConfig",
        SIDES
        | {"num_mel_bins": 16, "max_source_positions": 30, "pad_token_id": 1, "decoder_start_token_id": 2}
        | {"bos_token_id": 2, "eos_token_id": 3, "suppress_tokens": None, "begin_suppress_tokens": None},
    ),
    "ViTForImageClassification": ("ViTConfig", SMALL | {"image_size": 32, "patch_size": 8}),
    "CLIPModel": (
        "CLIPConfig",
        {"text_config": TEXT | {"eos_token_id": 2}, "vision_config": SMALL | {"image_size": 32, "patch_size": 8}},
    ),
}


def build(name: str, **changes: Any) -> nn.Module:
    config_name, options = MODELS[name]
    torch.manual_seed(0)
    return getattr(transformers, name)(getattr(transformers, config_name)(**(options | changes))).eval()


@pytest.mark.parametrize("name", MODELS)
def test_the_model_accepts_its_example_inputs(name: str) -> None:
    model = build(name)
    inputs = example_inputs(model)
    with torch.no_grad():
        output = model(**inputs)
    assert all(value.isfinite().all() for value in output.to_tuple() if isinstance(value, torch.Tensor))
    assert all(value.is_contiguous() for value in inputs.values())
    assert {value.shape[0] for value in inputs.values()} == {5}


def test_texts_are_ragged_and_hold_no_special_token() -> None:
    model = build("RobertaForMaskedLM")
    inputs = example_inputs(model)
    assert inputs["input_ids"].dtype == inputs["attention_mask"].dtype == torch.int64
    assert inputs["attention_mask"].sum(1).tolist() == [13, 12, 11, 10, 9]
    assert inputs["input_ids"][inputs["attention_mask"] == 0].eq(1).all()
    assert inputs["input_ids"][inputs["attention_mask"] == 1].gt(2).all()


def test_an_encoder_decoder_gets_two_lengths() -> None:
    inputs = example_inputs(build("T5ForConditionalGeneration"))
    assert (inputs["input_ids"].shape, inputs["decoder_input_ids"].shape) == ((5, 13), (5, 11))


def test_inputs_are_the_same_at_every_call() -> None:
    model = build("CLIPModel")
    first, second = example_inputs(model), example_inputs(model)
    assert set(first) == {"input_ids", "attention_mask", "pixel_values"}
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_sizes_of_the_model_are_avoided() -> None:
    inputs = example_inputs(build("BertForMaskedLM", hidden_size=52, num_attention_heads=13, num_hidden_layers=5))
    batch, length = inputs["input_ids"].shape
    assert (batch, length) == (3, 11)


def test_the_length_stays_below_the_position_table() -> None:
    for name, limit in (("BertForMaskedLM", 9), ("RobertaForMaskedLM", 10)):
        model = build(name, max_position_embeddings=limit)
        inputs = example_inputs(model)
        assert inputs["input_ids"].shape == (5, 7)
        model(**inputs)


def test_other_sizes_can_be_asked_for() -> None:
    assert example_inputs(build("LlamaForCausalLM"), batch=7, length=19)["input_ids"].shape == (7, 19)


def test_a_module_that_is_no_transformers_model_is_refused() -> None:
    with pytest.raises(SourceError, match="no example inputs are known for Linear"):
        example_inputs(nn.Linear(2, 2))
