"""Captures and conversions to ONNX remembered: they are most of the time of a small run, and have tests of their own.

`conftest.py` does so for all tests but those marked `captures`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import fxprune
from fxprune import tracing
from fxprune.deploy import class_graph, onnx
from fxprune.traced import Traced

_REAL = tracing.capture
_SEEN: dict[tuple, Traced] = {}
_CONVERT = onnx._convert
_CONVERTED: dict[tuple, Any] = {}


def capture_once(
    model: nn.Module, example_kwargs: Mapping[str, Any], length: int | None = None, *, free: bool = True
) -> Traced:
    """Capture a model, or copy the capture of an equal one."""
    key = _key(model, example_kwargs)
    if key is None:
        return _REAL(model, example_kwargs, length, free=free)
    key = (*key, length, free)
    if key not in _SEEN:
        _SEEN[key] = _REAL(model, example_kwargs, length, free=free)
    return copy.deepcopy(_SEEN[key])


def _key(model: nn.Module, example_kwargs: Mapping[str, Any]) -> tuple | None:
    """Return what a capture depends on; None of a model that was tampered with, or that says nothing of itself."""
    config = getattr(model, "config", None)
    if config is None or any("forward" in vars(module) for module in model.modules()):
        return None
    told = (config.to_json_string(use_diff=False), getattr(config, "_attn_implementation", None), model.training)
    parts = tuple(type(module) for module in model.modules())
    weights = tuple((name, _facts(tensor), tensor.requires_grad) for name, tensor in _tensors(model))
    tied = tuple(id(tensor) for _, tensor in _tensors(model))
    inputs = tuple((name, *map(_facts, tree_leaves(value))) for name, value in example_kwargs.items())
    return (parts, told, weights, tuple(tied.index(one) for one in tied), inputs)


def convert_once(exported: Any, rung: Any, outputs: tuple[str, ...]) -> Any:
    """Convert a program to ONNX, or return what an equal one became; whoever asks changes a copy."""
    graph = exported.graph
    tensors = tuple((name, _facts(tensor)) for name, tensor in _tensors(graph))
    inputs = tuple((name, *map(_facts, tree_leaves(value))) for name, value in exported.kwargs.items())
    key = (graph.code, tensors, inputs, repr(exported.dims), rung.opset, rung.plain_attention, outputs)
    if key not in _CONVERTED:
        _CONVERTED[key] = _CONVERT(exported, rung, outputs)
    return _CONVERTED[key]


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]


def _facts(value: Any) -> tuple:
    if not isinstance(value, Tensor):
        return (repr(value),)
    total = None if value.is_meta else float(value.detach().double().sum())
    return (tuple(value.shape), value.dtype, value.device, value.stride(), total)


@contextmanager
def remembered() -> Iterator[None]:
    """Within, fxprune captures and converts equal models once."""
    with (
        patch.object(tracing, "capture", capture_once),
        patch.object(class_graph, "capture", capture_once),
        patch.object(onnx, "_convert", convert_once),
    ):
        yield


def captured(model: nn.Module, example_kwargs: Mapping[str, Any]) -> Traced:
    """Return what `fxprune.capture` does, of equal models once."""
    with remembered():
        return fxprune.capture(model, example_kwargs)
