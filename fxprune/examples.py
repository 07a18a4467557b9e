"""Example inputs for any model of the transformers library, from its signature and its config."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from fxprune.errors import SourceError
from fxprune.placeholders import pictured, placeholder_of

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

_IMAGE_SIZE = 224  # where the config does not say: the library's own default
_SAMPLES = 2003  # of a sound: more than the receptive field of the convolutions in front of speech models
_SPECIAL = ("pad", "bos", "eos", "cls", "sep", "mask", "decoder_start")


def example_inputs(
    model: nn.Module, tokenizer: Any = None, *, batch: int = 5, length: int = 13, seed: int = 0
) -> dict[str, Tensor]:
    """Return keyword arguments `model` can be traced with: valid, contiguous, and the same at every call.

    Token ids are random but never special, masks are ragged (row i hides i positions at the end), images and sounds
    are noise. `batch` and `length` give way to a nearby prime where the config holds the same number, since a trace
    cannot tell the two apart.

    Args:
        model: a transformers model (it has `.config` and `.main_input_name`).
        tokenizer: adds its special tokens to those that are not drawn; the config's are known anyway.
        batch: rows.
        length: tokens in a row; a decoder gets a few less.
        seed: of the random values.
    Raises:
        SourceError: the model takes something else than tokens, images or sounds.
    """
    config = getattr(model, "config", None)
    main = getattr(model, "main_input_name", None)
    if config is None or main not in _MAKERS:
        raise SourceError(
            f"no example inputs are known for {type(model).__name__} (its main input is {main!r})",
            remedy="pass example_kwargs yourself: the keyword arguments of one call of its forward",
        )
    draw = _Draw(config, tokenizer, torch.Generator().manual_seed(seed))
    rows = draw.free_size(batch, 64)
    found = _MAKERS[main](draw, rows, length)
    names = inspect.signature(model.forward).parameters
    if main == "pixel_values" and "input_ids" in names and hasattr(config, "text_config"):
        found |= _texts(draw, rows, length)
    elif main == "input_ids" and "pixel_values" in names and hasattr(config, "vision_config"):
        images = _images(draw, rows, length)
        token = placeholder_of(config)
        if token is None:
            found |= images
        else:
            draw.special.add(token)
            found = pictured(model, token, images["pixel_values"], lambda more: _texts(draw, rows, length + more))
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in names:
        found["decoder_input_ids"] = draw.tokens(rows, draw.free_size(max(2, length - 2), draw.limit(), {rows, length}))
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    return {name: tensor.to(device) for name, tensor in found.items() if name in names}


class _Draw:
    """Random values in the ranges a config allows."""

    def __init__(self, config: Any, tokenizer: Any, generator: Generator) -> None:
        self.config = config
        self.text = config.get_text_config()
        self.vision = getattr(config, "vision_config", None) or config
        self.generator = generator
        self.special = _special_ids(config, self.text, tokenizer)
        self.taken = set(_integers(config.to_dict()))

    def free_size(self, wanted: int, limit: int, others: set[int] = frozenset()) -> int:  # type: ignore[assignment]
        """Return `wanted`, or the nearest prime from 2 to `limit` that is no size of the model and not in `others`."""
        taken = self.taken | others
        if 1 < wanted <= limit and wanted not in taken:
            return wanted
        primes = [n for n in range(2, limit + 1) if n not in taken and all(n % k for k in range(2, n))]
        return min(primes, key=lambda n: abs(n - wanted), default=min(wanted, limit))

    def limit(self, wanted: int = 0) -> int:
        """Return the greatest length of a text: position tables may start counting after the padding id."""
        rows = getattr(self.text, "max_position_embeddings", None)
        longest = max(509, wanted)
        return max(2, min(rows - 2, longest)) if isinstance(rows, int) and rows > 0 else longest

    def tokens(self, rows: int, length: int) -> Tensor:
        """Return (rows, length) token ids, none of them special."""
        ordinary = torch.tensor([i for i in range(self.text.vocab_size) if i not in self.special] or [0])
        return ordinary[torch.randint(len(ordinary), (rows, length), generator=self.generator)]

    def noise(self, *shape: int) -> Tensor:
        """Return standard normal float32 values."""
        return torch.randn(*shape, generator=self.generator)


def _texts(draw: _Draw, rows: int, length: int) -> dict[str, Tensor]:
    length = draw.free_size(length, draw.limit(length + 50), {rows})
    mask = torch.ones(rows, length, dtype=torch.int64)
    ids = draw.tokens(rows, length)
    for row in range(rows):
        mask[row, max(2, length - row) :] = 0
    pad = getattr(draw.text, "pad_token_id", None)
    if isinstance(pad, int) and 0 <= pad < draw.text.vocab_size:
        ids = ids.masked_fill(mask == 0, pad)
    return {"input_ids": ids, "attention_mask": mask}


def _images(draw: _Draw, rows: int, length: int) -> dict[str, Tensor]:
    del length  # an image has none
    size = getattr(draw.vision, "image_size", None) or _IMAGE_SIZE
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return {"pixel_values": draw.noise(rows, getattr(draw.vision, "num_channels", 3), height, width)}


def _spectra(draw: _Draw, rows: int, length: int) -> dict[str, Tensor]:
    del length  # the model fixes it: two frames a position
    bins, frames = getattr(draw.config, "num_mel_bins", 80), 2 * getattr(draw.config, "max_source_positions", 1500)
    return {"input_features": draw.noise(rows, bins, frames)}


def _sounds(draw: _Draw, rows: int, length: int) -> dict[str, Tensor]:
    del length  # counted in samples instead
    return {"input_values": draw.noise(rows, _SAMPLES)}


_MAKERS = {"input_ids": _texts, "pixel_values": _images, "input_features": _spectra, "input_values": _sounds}
OTHER_THAN_TEXT = _MAKERS.keys() - {"input_ids"}


def _special_ids(config: Any, text: Any, tokenizer: Any) -> set[int]:
    found: set[int] = set(getattr(tokenizer, "all_special_ids", []))
    for part in (config, text):
        for name in _SPECIAL:
            value = getattr(part, f"{name}_token_id", None)
            found |= set(value) if isinstance(value, list | tuple) else {value} if isinstance(value, int) else set()
    return found


def _integers(value: Any) -> Iterator[int]:
    """Yield every whole number in a nested config."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _integers(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _integers(item)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value
