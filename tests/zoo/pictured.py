"""Vision-language models: images take the place of tokens."""

from __future__ import annotations

from typing import Any

from zoo.entry import HEADS, IMAGE, INNER, VOCABULARY, WIDTH, Entry, Inputs, hugging, images, text

PLACEHOLDER = 90
PATCHES = 4  # tokens of an image, after the projector
_TOWER = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
_EYE = {**_TOWER, "image_size": IMAGE, "patch_size": 8}
_TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": 1,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": INNER,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def _one_image(batch: int, length: int) -> Inputs:
    """A text in which every row has the places of one image, and the image."""
    found = text(batch, length)
    found["input_ids"] = found["input_ids"].clamp(max=PLACEHOLDER - 1)
    found["input_ids"][:, 1 : 1 + PATCHES] = PLACEHOLDER
    return {**found, **images(batch, length)}


def _marked(batch: int, length: int) -> Inputs:
    """With the tokens of images marked, which see each other."""
    found = _one_image(batch, length)
    return {**found, "token_type_ids": (found["input_ids"] == PLACEHOLDER).long()}


def _several(batch: int, length: int) -> Inputs:
    """Room for more than one image in a row."""
    found = _one_image(batch, length)
    return {**found, "pixel_values": found["pixel_values"][:, None]}


PICTURED: dict[str, Entry] = {
    # a mask of a custom pattern, made by vmap
    "gemma3": Entry(
        hugging(
            "Gemma3ForConditionalGeneration",
            vision_config={"model_type": "siglip_vision_model", **_EYE},
            text_config={"model_type": "gemma3_text", **_TEXT, "layer_types": ["full_attention"]},
            mm_tokens_per_image=PATCHES,
            image_token_id=PLACEHOLDER,
        ),
        _marked,
    ),
    # as many images as data says, and values that lie otherwise in memory once they are masked
    "idefics3": Entry(
        hugging(
            "Idefics3ForConditionalGeneration",
            vision_config=_EYE,
            text_config={"model_type": "llama", **_TEXT},
            image_token_id=PLACEHOLDER,
            scale_factor=2,
            pad_token_id=0,
        ),
        _several,
    ),
}
