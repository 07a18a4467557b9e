"""One entry of the zoo: a tiny random model and inputs for it at any batch and length; nothing else is ever given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

VOCABULARY = 99
LAYERS = 2
WIDTH = 64
HEADS = 4
INNER = 96  # feed-forward
IMAGE = 32
PICTURE_LABELS = 7

Inputs = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Entry:
    """How to make a model, and what it is called with."""

    build: Callable[[], nn.Module]
    inputs: Callable[[int, int], Inputs]


def hugging(model_class: str, **fields: Any) -> Callable[[], nn.Module]:
    """Return what builds a class of the transformers library from its config."""

    def build() -> nn.Module:
        import transformers

        cls = getattr(transformers, model_class)
        return cls(cls.config_class(**fields))

    return build


def model_of(entry: Entry, *, seed: int = 0, spread: float = 0.05) -> nn.Module:
    """Build the model in evaluation mode. A fresh bias is zero and a fresh norm one, so that nothing would notice if
    two of them were mixed up: every parameter is moved a little."""
    torch.manual_seed(seed)
    model = entry.build().eval()
    with torch.no_grad():
        for parameter in (parameter for parameter in model.parameters() if parameter.requires_grad):
            parameter.add_(torch.randn_like(parameter) * spread)
    return model


def text(batch: int, length: int) -> Inputs:
    """Token ids, and a mask that hides one position more in each row."""
    hidden = torch.arange(batch)[:, None] % length
    return {"input_ids": _ids(batch, length), "attention_mask": (torch.arange(length) < length - hidden).long()}


def plain_text(batch: int, length: int) -> Inputs:
    """Token ids without a mask."""
    return {"input_ids": _ids(batch, length)}


def page(batch: int, length: int) -> Inputs:
    """Text with the place of each word on a page."""
    corners = torch.randint(0, 40, (batch, length, 2), generator=_generator(batch, length))
    return {**text(batch, length), "bbox": torch.cat((corners, corners + 5), -1)}


def pairs(batch: int, length: int) -> Inputs:
    """Source text and the start of its translation."""
    return {**text(batch, length), "decoder_input_ids": _ids(batch, length // 2 + 1)}


def speech(batch: int, length: int) -> Inputs:
    """A spectrum of fixed length and the start of its transcript."""
    frames = torch.randn(batch, 16, 34, generator=_generator(batch, 1))
    return {"input_features": frames, "decoder_input_ids": _ids(batch, length)}


def images(batch: int, length: int) -> Inputs:
    """Pictures; the length means nothing."""
    return {"pixel_values": torch.randn(batch, 3, IMAGE, IMAGE, generator=_generator(batch, 0))}


def captions(batch: int, length: int) -> Inputs:
    """As many texts as pictures."""
    return {**text(batch, length), **images(batch, length)}


def sound(batch: int, length: int) -> Inputs:
    """Samples; a position stands for many."""
    return {"input_values": torch.randn(batch, 100 * length, generator=_generator(batch, length))}


def _ids(batch: int, length: int) -> Tensor:
    return torch.randint(5, VOCABULARY, (batch, length), generator=_generator(batch, length))


def _generator(batch: int, length: int) -> torch.Generator:
    return torch.Generator().manual_seed(batch * 100 + length)


BERT: Mapping[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "max_position_embeddings": 128,
}
