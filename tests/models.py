"""Tiny models for tests: nine Hugging Face architectures from configs, and hand-written ones; each captured once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from handmade import HANDMADE
from torch import Tensor, nn

from fxprune.passes import CANONICAL, run_passes
from fxprune.traced import Traced
from fxprune.tracing import capture

VOCABULARY = 99
LAYERS = 2
Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class Example:
    """A model and its inputs at any batch and length."""

    build: Callable[[], nn.Module]
    inputs: Callable[[int, int], Inputs]
    tolerance: float = 1e-10  # of float64 proofs; some models cast to float32 inside


def text(batch: int, length: int) -> Inputs:
    """Token ids, and a mask that hides one position more in each row."""
    generator = torch.Generator().manual_seed(batch * 100 + length)
    ids = torch.randint(5, VOCABULARY, (batch, length), generator=generator)
    hidden = torch.arange(batch)[:, None] % length
    return {"input_ids": ids, "attention_mask": (torch.arange(length) < length - hidden).long()}


def plain_text(batch: int, length: int) -> Inputs:
    """Token ids without a mask."""
    return {"input_ids": text(batch, length)["input_ids"]}


def pairs(batch: int, length: int) -> Inputs:
    """Source text and the start of its translation."""
    return {**text(batch, length), "decoder_input_ids": text(batch, length // 2 + 1)["input_ids"]}


def images(batch: int, length: int) -> Inputs:
    """Pictures; the length means nothing."""
    generator = torch.Generator().manual_seed(batch)
    return {"pixel_values": torch.randn(batch, 3, 24, 24, generator=generator)}


_BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
_LLAMA = _BERT | {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 8}
_GLOBAL_AND_LOCAL = {"global_attn_every_n_layers": 2, "local_attention": 8}
_SPECIAL = {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}


def _hugging(model_class: str, **fields: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import transformers

        cls = getattr(transformers, model_class)
        return cls(cls.config_class(**fields))

    return build


ARCHITECTURES: dict[str, Example] = {
    "bert": Example(_hugging("BertForMaskedLM", **_BERT), text),
    "roberta": Example(_hugging("RobertaForMaskedLM", **_BERT, pad_token_id=1), text),
    "distilbert": Example(
        _hugging("DistilBertForMaskedLM", vocab_size=VOCABULARY, dim=32, n_layers=LAYERS, n_heads=4, hidden_dim=48),
        text,
    ),
    "electra": Example(_hugging("ElectraForMaskedLM", **_BERT, embedding_size=24), text),
    "modernbert": Example(_hugging("ModernBertForMaskedLM", **_BERT, **_SPECIAL, **_GLOBAL_AND_LOCAL), text),
    "gpt2": Example(
        _hugging(
            "GPT2LMHeadModel",
            vocab_size=VOCABULARY,
            n_embd=32,
            n_inner=48,
            n_layer=LAYERS,
            n_head=4,
            bos_token_id=0,
            eos_token_id=0,
        ),
        text,
    ),
    "llama": Example(_hugging("LlamaForCausalLM", **_LLAMA), text, 1e-6),
    "llama_gqa": Example(_hugging("LlamaForCausalLM", **_LLAMA), plain_text, 1e-6),
    "t5": Example(
        _hugging(
            "T5ForConditionalGeneration",
            vocab_size=VOCABULARY,
            d_model=32,
            d_kv=8,
            d_ff=48,
            num_layers=LAYERS,
            num_heads=4,
            decoder_start_token_id=0,
        ),
        pairs,
        1e-6,
    ),
    "vit": Example(
        _hugging(
            "ViTForImageClassification",
            hidden_size=32,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            intermediate_size=48,
            image_size=24,
            patch_size=8,
            num_labels=7,
        ),
        images,
    ),
}

ALL: dict[str, Example] = {
    **ARCHITECTURES,
    **{name: Example(cls, cls.inputs) for name, cls in HANDMADE.items()},
}


@cache
def model_of(name: str) -> nn.Module:
    """Return the dense model in float64, in which no parameter is constant; do not change it."""
    torch.manual_seed(0)
    model = ALL[name].build().double().eval()
    with torch.no_grad():  # a fresh bias is zero and a fresh norm one: nothing would notice if they were mixed up
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def inputs_of(name: str, batch: int = 5, length: int = 13) -> Inputs:
    """Return inputs in float64."""
    inputs = ALL[name].inputs(batch, length)
    return {key: value.double() if value.is_floating_point() else value for key, value in inputs.items()}


@cache
def _captured(name: str) -> Traced:
    traced = capture(model_of(name), inputs_of(name))
    run_passes(traced, CANONICAL)
    return traced


def traced_of(name: str) -> Traced:
    """Return a captured model of one's own."""
    return copy.deepcopy(_captured(name))
