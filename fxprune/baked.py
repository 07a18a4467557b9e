"""Whether an exported program still works at another length, or has the length of its example baked in.

A loop over the positions of a sequence is unrolled without a word: sizes stay symbolic, the number of steps does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
)
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves, tree_map_only

from fxprune.positions import named_positions
from fxprune.shapes import Dims, batch_size, resized, second_shape

_UNKNOWN = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedFakeTensorException)


def is_baked(program: ExportedProgram, kwargs: Mapping[str, Any], dims: Dims) -> bool:
    """Tell whether `program` fails at another batch and length; run without values, and only where it may."""
    if not _suspects(program, kwargs, dims):
        return False
    return _runs(program.module(check_guards=False), second_shape(kwargs, dims)) is False


def is_bound(model: nn.Module, program: ExportedProgram, kwargs: Mapping[str, Any], dims: Dims) -> bool:
    """Tell whether `program` refuses long inputs that `model` takes, as where it holds for so many chunks only.

    Its checks were put off until it runs; both run without values, at powers of two up to a thousand tokens.
    """
    module, named = program.module(check_guards=False), named_positions(getattr(model, "config", None))
    for length in (2**power for power in range(10, 5, -1) if named is None or 2**power < named):
        inputs = resized(kwargs, (batch_size(kwargs) or 1) + 2, length, dims)
        if _runs(module, inputs) is not False:
            return False
        if (taken := _runs(model, inputs)) is not False:
            return taken is True
        if named is not None and _runs(model, kwargs) is False:
            return True  # some ops run nowhere without values: then the config is believed
    return False


def _runs(module: nn.Module, inputs: Mapping[str, Any]) -> bool | None:
    """Tell whether `module` runs without values; None if that depends on them."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
        try:
            module(**tree_map_only(Tensor, mode.from_tensor, dict(inputs)))
        except _UNKNOWN:
            return None
        except Exception:  # ops raise whatever they like when sizes do not fit
            return False
    return True


def _suspects(program: ExportedProgram, kwargs: Mapping[str, Any], dims: Dims) -> bool:
    """Tell whether a literal equals a free length, or the last position: rare, for examples avoid the model's sizes."""
    lengths = {
        value.shape[axis]
        for name, value in kwargs.items()
        if isinstance(value, Tensor) and isinstance(spec := dims.get(name), dict)
        for axis, dim in spec.items()
        if axis == 1 and dim is not None
    }
    wanted = lengths | {length - 1 for length in lengths}
    for node in program.graph.nodes:
        if node.op == "call_function":
            if any(type(leaf) is int and leaf in wanted for leaf in tree_leaves((node.args, node.kwargs))):
                return True
            if any(isinstance(argument, list | tuple) and len(argument) in lengths for argument in node.args):
                return True
    return False
