"""How far two runs of a model are apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from fxprune.errors import DeployError


def output_tensors(outputs: Any) -> dict[str, Tensor]:
    """Name the tensors a model returns: by key, with the place added for nested tuples, or `output` for a lone one.

    Raises:
        DeployError: something among the outputs is no tensor, such as a key-value cache.

    >>> list(output_tensors({"logits": torch.ones(1), "hidden_states": (torch.ones(1), torch.ones(1))}))
    ['logits', 'hidden_states.0', 'hidden_states.1']
    """
    return dict(_flat(outputs, ""))


def input_tensors(kwargs: Mapping[str, Any]) -> dict[str, Tensor]:
    """Name the tensors among keyword arguments; switches and numbers are left out.

    >>> list(input_tensors({"input_ids": torch.ones(1), "return_dict": True}))
    ['input_ids']
    """
    return dict(_flat(kwargs, "", strict=False))


def worst_error(got: Mapping[str, Tensor], want: Mapping[str, Tensor]) -> float:
    """Return the largest difference between outputs of the same name, relative to the largest value of that output.

    Raises:
        DeployError: names or shapes differ.

    >>> round(worst_error({"x": torch.tensor([1.0, 4.1])}, {"x": torch.tensor([1.0, 4.0])}), 3)
    0.025
    """
    if got.keys() != want.keys():
        raise DeployError("the outputs differ in name", cause=f"{', '.join(got)} instead of {', '.join(want)}")
    return max(_error(name, got[name], want[name]) for name in want)


def _error(name: str, got: Tensor, want: Tensor) -> float:
    if got.shape != want.shape:
        raise DeployError(
            f"the output {name!r} has another shape", cause=f"{tuple(got.shape)} instead of {tuple(want.shape)}"
        )
    if not want.numel():
        return 0.0
    got, want = got.detach().cpu().double(), want.detach().cpu().double()
    difference = torch.where(got.isnan() & want.isnan(), 0.0, (got - want).abs())
    scale = want.nan_to_num().abs().max().item()
    error = difference.max().item() / (scale or 1.0)
    return math.inf if math.isnan(error) else error


def _flat(value: Any, name: str, *, strict: bool = True) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name or "output", value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key), strict=strict)
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _flat(item, f"{name or 'output'}.{place}", strict=strict)
    elif value is not None and strict:
        raise DeployError(
            f"the output {name or 'of the model'!r} is a {type(value).__name__}, not a tensor",
            remedy="turn it off, for example with use_cache=False",
        )
