"""Examples of models that read images in the place of tokens: as many placeholders as the model makes of an image."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch

from fxprune.errors import SourceError
from fxprune.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

_FEATURES = "get_image_features"  # of the transformers library
_TOKENS = ("image_token_id", "image_token_index")


class _SeenError(Exception):
    """Ends a call once the features of its images are known."""


def placeholder_of(config: Any) -> int | None:
    """Return the token that stands for a part of an image; None of a model that has none."""
    found = (getattr(config, name, None) for name in _TOKENS)
    return next((token for token in found if isinstance(token, int)), None)


def pictured(
    model: nn.Module, token: int, pixels: Tensor, texts: Callable[[int], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Return keyword arguments with one image in each row.

    Args:
        model: a transformers model, on any device, also without values.
        token: the placeholder.
        pixels: (rows, channels, height, width) images.
        texts: makes token ids, and what goes with them, that have this many tokens more than an ordinary text.
    Raises:
        SourceError: the model takes its images in another form, or has no room for one.
    """
    shapes = (pixels, pixels[:, None])  # some take several images a row
    for images in shapes:
        count = _tokens_of(model, {**texts(0), "pixel_values": images}, len(pixels))
        if count is not None:
            found = texts(count)
            ids = found["input_ids"].clone()
            if ids.shape[1] < count + 2:
                raise SourceError(
                    f"an image takes {count} tokens, and a text has room for {ids.shape[1]}",
                    remedy="raise max_position_embeddings in config.json",
                )
            ids[:, 1 : 1 + count] = token
            placed = (ids == token).to(torch.int64)
            return {
                **found,
                "input_ids": ids,
                "pixel_values": images,
                "token_type_ids": placed,
                "mm_token_type_ids": placed,
            }
    raise SourceError(
        f"no example images are known for {type(model).__name__}: it takes them in a form of its own",
        remedy="pass example_kwargs to fxprune.capture or fxprune.prune in Python: the keyword arguments of one call "
        "of its forward, images included",
    )


def _tokens_of(model: nn.Module, kwargs: Mapping[str, Tensor], rows: int) -> int | None:
    """Return how many tokens each row's image becomes; None if the model does not take these images."""
    seen: list[Any] = []

    def recording(function: Callable[..., Any]) -> Callable[..., Any]:
        def record(*args: Any, **options: Any) -> Any:
            seen.append(function(*args, **options))
            raise _SeenError

        return record

    device = next(model.parameters()).device
    with ExitStack() as stack:
        for part in model.modules():
            if hasattr(type(part), _FEATURES):
                stack.enter_context(patch.object(part, _FEATURES, recording(getattr(part, _FEATURES))))
        stack.enter_context(torch.no_grad())
        stack.enter_context(quiet())
        stack.enter_context(suppress(Exception))  # it stops at the features, or the model takes other images
        model(**{name: value.to(device) for name, value in kwargs.items()})
    found = _rows_of(seen[0]) if seen else None
    return found // rows if found is not None and found % rows == 0 else None


def _rows_of(features: Any) -> int | None:
    """Return the vectors in (images, tokens, width) features, in (tokens, width) ones, or in a list of those."""
    features = getattr(features, "pooler_output", features)
    if isinstance(features, list | tuple):
        counts = [_rows_of(part) for part in features]
        return None if not counts or None in counts else sum(counts)  # type: ignore[arg-type]
    if not isinstance(features, torch.Tensor) or features.ndim < 2:
        return None
    return int(features.shape[:-1].numel())
