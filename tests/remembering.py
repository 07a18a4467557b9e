"""Captures remembered: most of the time of a small prune or distillation is its capture, which has tests of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from torch import nn

import fxprune
from fxprune import tracing
from fxprune.traced import Traced

_REAL = tracing.capture
_SEEN: dict[tuple, Traced] = {}


def capture_once(model: nn.Module, example_kwargs: Mapping[str, Any]) -> Traced:
    """Capture a model, or copy the capture of an equal one."""
    weights = tuple((name, tensor.dtype, float(tensor.double().sum())) for name, tensor in model.state_dict().items())
    inputs = tuple((name, tuple(tensor.shape)) for name, tensor in example_kwargs.items())
    key = (type(model), getattr(getattr(model, "config", None), "_attn_implementation", None), weights, inputs)
    if key not in _SEEN:
        _SEEN[key] = _REAL(model, example_kwargs)
    return copy.deepcopy(_SEEN[key])


@contextmanager
def remembered() -> Iterator[None]:
    """Within, fxprune captures equal models once."""
    with patch.object(tracing, "capture", capture_once):
        yield


def captured(model: nn.Module, example_kwargs: Mapping[str, Any]) -> Traced:
    """Return what `fxprune.capture` does, of equal models once."""
    with remembered():
        return fxprune.capture(model, example_kwargs)
