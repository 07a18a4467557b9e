"""Text decoders, those with experts and with a state among them."""

from __future__ import annotations

from typing import Any

from zoo.entry import BERT, HEADS, INNER, LAYERS, VOCABULARY, WIDTH, Entry, hugging, plain_text, text

_LLAMA: dict[str, Any] = {**BERT, "num_key_value_heads": 2, "head_dim": 16, "pad_token_id": 0}
_ENDS = {"bos_token_id": 1, "eos_token_id": 2}
_LOCAL_GLOBAL = ["sliding_attention", "full_attention"]
_SMALL = {"vocab_size": VOCABULARY, **_ENDS}

DECODERS: dict[str, Entry] = {
    "gpt2": Entry(
        hugging(
            "GPT2LMHeadModel", **_SMALL, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, n_positions=128, n_inner=INNER
        ),
        text,
    ),
    "gpt_neo": Entry(
        hugging(
            "GPTNeoForCausalLM",
            **_SMALL,
            hidden_size=WIDTH,
            num_layers=LAYERS,
            num_heads=HEADS,
            intermediate_size=INNER,
            max_position_embeddings=128,
            attention_types=[[["global", "local"], 1]],
            window_size=8,
        ),
        text,
    ),
    "gpt_neox": Entry(hugging("GPTNeoXForCausalLM", **BERT, **_ENDS, rotary_pct=0.5), text),
    "gptj": Entry(
        hugging(
            "GPTJForCausalLM",
            **_SMALL,
            n_embd=WIDTH,
            n_layer=LAYERS,
            n_head=HEADS,
            n_positions=128,
            n_inner=INNER,
            rotary_dim=8,
        ),
        text,
    ),
    "opt": Entry(
        hugging(
            "OPTForCausalLM",
            **_SMALL,
            hidden_size=WIDTH,
            word_embed_proj_dim=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            ffn_dim=INNER,
            max_position_embeddings=128,
            pad_token_id=0,
        ),
        text,
    ),
    "bloom": Entry(hugging("BloomForCausalLM", **_SMALL, hidden_size=WIDTH, n_layer=LAYERS, n_head=HEADS), text),
    "llama": Entry(hugging("LlamaForCausalLM", **_LLAMA), text),
    "mistral": Entry(hugging("MistralForCausalLM", **_LLAMA, sliding_window=8), text),
    "qwen2": Entry(
        hugging(
            "Qwen2ForCausalLM",
            **{name: value for name, value in _LLAMA.items() if name != "head_dim"},
        ),
        text,
    ),
    "gemma": Entry(hugging("GemmaForCausalLM", **_LLAMA), text),
    "gemma2": Entry(hugging("Gemma2ForCausalLM", **_LLAMA, sliding_window=8, query_pre_attn_scalar=16), text),
    "phi": Entry(
        hugging("PhiForCausalLM", **BERT, num_key_value_heads=HEADS, partial_rotary_factor=0.5, pad_token_id=0), text
    ),
    "phi3": Entry(hugging("Phi3ForCausalLM", **BERT, num_key_value_heads=2, pad_token_id=0, **_ENDS), text),
    "stablelm": Entry(hugging("StableLmForCausalLM", **BERT, num_key_value_heads=2, partial_rotary_factor=0.5), text),
    "olmo2": Entry(hugging("Olmo2ForCausalLM", **BERT, num_key_value_heads=2, pad_token_id=0, **_ENDS), text),
    "smollm3": Entry(hugging("SmolLM3ForCausalLM", **BERT, num_key_value_heads=2, pad_token_id=0, **_ENDS), text),
    "granite": Entry(
        hugging(
            "GraniteForCausalLM",
            **BERT,
            num_key_value_heads=2,
            pad_token_id=0,
            embedding_multiplier=2.0,
            residual_multiplier=0.5,
            logits_scaling=3.0,
        ),
        text,
    ),
    "qwen3": Entry(hugging("Qwen3ForCausalLM", **_LLAMA), text),
    "gemma3_text": Entry(
        hugging("Gemma3ForCausalLM", **_LLAMA, sliding_window=8, query_pre_attn_scalar=16, layer_types=_LOCAL_GLOBAL),
        text,
    ),
    "falcon": Entry(
        hugging(
            "FalconForCausalLM",
            **_SMALL,
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            ffn_hidden_size=INNER,
        ),
        text,
    ),
    "codegen": Entry(
        hugging(
            "CodeGenForCausalLM",
            **_SMALL,
            n_embd=WIDTH,
            n_layer=LAYERS,
            n_head=HEADS,
            n_positions=128,
            n_inner=INNER,
            rotary_dim=8,
        ),
        text,
    ),
    "mamba": Entry(
        hugging(
            "MambaForCausalLM", **_SMALL, hidden_size=WIDTH, num_hidden_layers=LAYERS, state_size=8, time_step_rank=6
        ),
        plain_text,
    ),
    "mixtral": Entry(
        hugging("MixtralForCausalLM", **_LLAMA, num_local_experts=3, num_experts_per_tok=2),
        text,
    ),
}
