"""Whether an exported program still works at another length, or has the length of its example baked in.

A loop over the positions of a sequence is unrolled without a word: sizes stay symbolic, the number of steps does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
)
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves, tree_map_only

from fxprune.shapes import Dims, second_shape

_UNKNOWN = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedFakeTensorException)


def is_baked(program: ExportedProgram, kwargs: Mapping[str, Any], dims: Dims) -> bool:
    """Tell whether `program` fails at another batch and length; run without values, and only where it may."""
    if not _suspects(program, kwargs, dims):
        return False
    module = program.module(check_guards=False)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
        try:
            module(**tree_map_only(Tensor, mode.from_tensor, second_shape(kwargs, dims)))
        except _UNKNOWN:
            return False  # what depends on values cannot be told without them
        except Exception:  # ops raise whatever they like when sizes do not fit
            return True
    return False


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
