"""Tiny models from configs: the dense config of each class, and a narrower one of the same class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import transformers

TEXT = {"vocab_size": 99}
BERT = {**TEXT, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 72}
SLIM_BERT = {"hidden_size": 18, "num_attention_heads": 3, "intermediate_size": 40}


@dataclass(frozen=True)
class Tiny:
    name: str
    dense: dict[str, Any]
    slim: dict[str, Any]
    hints: dict[int, set[int]]

    @property
    def cls(self) -> Any:
        return getattr(transformers, self.name)

    @property
    def config(self) -> Any:
        return self.cls.config_class(**self.dense)

    @property
    def slim_config(self) -> Any:
        return self.cls.config_class(**{**self.dense, **self.slim})

    def build(self, config: Any = None, seed: int = 0) -> Any:
        torch.manual_seed(seed)
        model = self.cls(config or self.config).eval()
        with torch.no_grad():  # biases start at zero and norms at one: nothing would notice if they were mixed up
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
        return model

    def inputs(self, batch: int = 5, length: int = 13) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(1)
        if self.name.startswith("ViT"):
            return {"pixel_values": torch.rand(batch, 3, 24, 24, generator=generator)}
        ids = torch.randint(3, 99, (batch, length), generator=generator)
        mask = (torch.arange(length) < length - torch.arange(batch)[:, None]).long()
        text = {"input_ids": ids, "attention_mask": mask}
        return text | {"decoder_input_ids": ids[:, :11].contiguous()} if self.name.startswith("T5") else text


def bert_hints(heads: int = 3) -> dict[int, set[int]]:
    return {4: {heads}, 8: {6}, 32: {18}, 72: {40}}


TINY = [
    Tiny("BertForMaskedLM", BERT, SLIM_BERT, bert_hints()),
    Tiny("RobertaForMaskedLM", {**BERT, "max_position_embeddings": 40}, SLIM_BERT, bert_hints()),
    Tiny(
        "DistilBertForMaskedLM",
        {**TEXT, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 72},
        {"dim": 18, "n_heads": 3, "hidden_dim": 40},
        bert_hints(),
    ),
    Tiny(
        "ElectraForMaskedLM",
        {**BERT, "embedding_size": 24},
        {**SLIM_BERT, "embedding_size": 10},
        {**bert_hints(), 24: {10}},
    ),
    Tiny(
        "ModernBertForMaskedLM",
        {**BERT, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2},
        SLIM_BERT,
        bert_hints(),
    ),
    Tiny(
        "GPT2LMHeadModel",
        {**TEXT, "n_embd": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 1, "eos_token_id": 2},
        {"n_embd": 18, "n_head": 3, "n_inner": 50},
        {4: {3}, 8: {6}, 32: {18}, 128: {50}},
    ),
    Tiny(
        "LlamaForCausalLM",
        {**BERT, "num_key_value_heads": 2, "head_dim": 10},
        {"hidden_size": 20, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 6, "intermediate_size": 40},
        {4: {2}, 2: {1}, 10: {6}, 32: {20}, 72: {40}},
    ),
    Tiny(
        "T5ForConditionalGeneration",
        {**TEXT, "d_model": 32, "d_kv": 10, "d_ff": 72, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0},
        {"d_model": 20, "d_kv": 6, "d_ff": 40, "num_heads": 3},
        {4: {3}, 10: {6}, 32: {20}, 72: {40}},
    ),
    Tiny(
        "ViTForImageClassification",
        {**BERT, "image_size": 24, "patch_size": 8, "num_labels": 7},
        {**SLIM_BERT, "pooler_output_size": 18},
        bert_hints(),
    ),
]
TINY[-1].dense.pop("vocab_size")


@pytest.fixture(params=TINY, ids=lambda tiny: tiny.name)
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return request.param


@pytest.fixture
def bert() -> Tiny:
    return TINY[0]


@pytest.fixture(scope="session")
def all_tiny() -> list[Tiny]:
    return TINY


@pytest.fixture(scope="session")
def slim_bert() -> tuple[Any, dict[str, Any]]:
    """A BERT cut to a half, and its inputs; tests leave it as it is."""
    import fxprune

    return fxprune.prune(TINY[0].build(), TINY[0].inputs(), ratio=0.5), TINY[0].inputs()
