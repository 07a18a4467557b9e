"""Models that generate, and what the library itself generates with them."""

from __future__ import annotations

from typing import Any

import torch
from zoo import LIBRARY, model_of

PROMPTS = [[5, 6, 7, 8, 9, 10], [11, 12], [13, 14, 15, 16]]


def build(name: str, **fields: Any) -> Any:
    """A zoo model without a token that ends texts, so that these run on, unless `fields` of its settings say more."""
    model = model_of(LIBRARY[name])
    settings: Any = model.generation_config
    for field, value in {"eos_token_id": None, "forced_eos_token_id": None, **fields}.items():
        setattr(settings, field, value)
        if field == "eos_token_id":
            model.config.eos_token_id = value
    return model


def generated(model: Any, prompts: list[list[int]], count: int) -> list[list[int]]:
    """What the library generates greedily, of a padded batch."""
    pair, longest = model.config.is_encoder_decoder, max(map(len, prompts))
    padding = [[0] * (longest - len(prompt)) for prompt in prompts]
    rows = [prompt + pad if pair else pad + prompt for prompt, pad in zip(prompts, padding, strict=True)]
    shown = [[1] * len(prompt) for prompt in prompts]
    mask = [ones + pad if pair else pad + ones for ones, pad in zip(shown, padding, strict=True)]
    with torch.no_grad():
        made = model.generate(
            torch.tensor(rows),
            attention_mask=torch.tensor(mask),
            do_sample=False,
            max_new_tokens=count,
            use_cache=True,
            pad_token_id=0,
        )
    return made[:, 1 if pair else longest :].tolist()
