"""What a model class remembers between two steps: found by one run of it, and put into its own cache objects.

Shapes: keys and values are (batch, heads, length, dims); heads and dims may differ from layer to layer.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from fxprune.errors import DeployError, UsageError
from fxprune.quiet import quiet

if TYPE_CHECKING:
    from transformers.cache_utils import Cache

Layer: TypeAlias = Mapping[str, Tensor]  # "key", "value"
Past: TypeAlias = Mapping[str, Any]  # number of the layer -> Layer, or "decoder" and "encoder" -> Layer


class NoCacheError(DeployError):
    """A model that generates, but keeps something else between two steps than keys and values."""


_GROWING = ("DynamicLayer", "DynamicSlidingWindowLayer")  # a window is kept whole: the mask hides what is outside it
ONLY_WITHOUT = "its ONNX file without a cache is not affected"


def remembers(model: nn.Module | type[nn.Module]) -> bool:
    """Tell whether a class generates text with a key-value cache: an ordinary question to its own interface."""
    can_generate = getattr(model, "can_generate", None)
    return bool(can_generate and can_generate()) and "past_key_values" in _arguments(model)


def check_remembers(model: nn.Module, name: str) -> None:
    """Raise UsageError unless `model`, called `name` by the user, generates with a key-value cache."""
    if not remembers(model):
        raise UsageError(
            f"{name} has no key-value cache to export",
            cause=f"{type(model).__name__} does not generate token by token with one",
            remedy="leave out --with-past, or give a causal language model or an encoder-decoder",
        )


def takes(model: nn.Module, argument: str) -> bool:
    """Tell whether the forward of `model` has this argument."""
    return argument in _arguments(model)


def empty_past(model: Any, examples: Mapping[str, Tensor]) -> tuple[dict[str, Any], int | None]:
    """Run `model` once and return its cache with no position in it, and the narrowest window it attends in, if any.

    Args:
        model: a Hugging Face model that `remembers`.
        examples: arguments of its forward.
    Raises:
        NoCacheError: it keeps something else than keys and values that grow with the text.
    """
    with torch.no_grad(), quiet():
        cache = model(**examples, use_cache=True).past_key_values
    if not model.config.is_encoder_decoder:
        return {str(place): _emptied(layer) for place, layer in enumerate(_layers(cache))}, _window(cache)
    sides = {"decoder": cache.self_attention_cache, "encoder": cache.cross_attention_cache}
    layers = {side: [_emptied(layer) for layer in _layers(part)] for side, part in sides.items()}
    count = len(layers["decoder"])
    return {str(place): {side: layers[side][place] for side in sides} for place in range(count)}, None


def filled(layers: list[Layer]) -> Cache:
    """Return a cache object of the library that holds `layers`, and grows without a limit."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    cache = DynamicCache()
    for tensors in layers:
        layer = DynamicLayer()
        layer.lazy_initialization(tensors["key"], tensors["value"])
        layer.keys, layer.values = tensors["key"], tensors["value"]
        cache.layers.append(layer)
    return cache


def held(cache: Cache) -> list[dict[str, Tensor]]:
    """Return the keys and values in a cache object, by layer."""
    return [_tensors(layer) for layer in cache.layers]


def _layers(cache: Any) -> list[Any]:
    layers = list(getattr(cache, "layers", ()))
    if not layers:
        raise NoCacheError("the model returns no cache", cause=f"past_key_values is {cache!r}", remedy=ONLY_WITHOUT)
    for place, layer in enumerate(layers):
        kind = type(layer).__name__
        if kind not in _GROWING or layer.keys is None or layer.keys.ndim != 4:
            raise NoCacheError(
                "the model keeps more between two steps than keys and values that grow with the text",
                cause=f"layer {place} of its cache is a {kind}",
                remedy=ONLY_WITHOUT,
            )
    return layers


def _tensors(layer: Any) -> dict[str, Tensor]:
    return {"key": layer.keys, "value": layer.values}


def _emptied(layer: Any) -> dict[str, Tensor]:
    return {name: tensor[:, :, :0].clone() for name, tensor in _tensors(layer).items()}


def _window(cache: Any) -> int | None:
    return min((layer.sliding_window for layer in cache.layers if hasattr(layer, "sliding_window")), default=None)


def _arguments(model: nn.Module | type[nn.Module]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(model.forward).parameters
