"""A step of generation as an exported program: every size free but heads and dims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.utils._pytree import tree_map_only

from fxprune.deploy.parity import input_tensors, output_tensors
from fxprune.deploy.program import Exported, first_line
from fxprune.errors import DeployError
from fxprune.quiet import quiet

_LENGTHS = {"attention_mask": "total_length", "encoder_attention_mask": "source_length"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedStep:
    """A program, what the module returned for its examples, and names for the free sizes of its inputs."""

    exported: Exported
    outputs: Mapping[str, Tensor]
    axes: Mapping[str, Mapping[int, str]]


def capture_step(module: nn.Module, kwargs: Mapping[str, Any]) -> CapturedStep:
    """Run `module` on `kwargs`, then export it.

    Args:
        module: of tensors, nested in dictionaries at most.
        kwargs: tensors of four dimensions are free in batch and length (0 and 2), others in 0 and 1; sizes that may
            differ must differ here.
    Raises:
        DeployError: it does not run, or cannot be exported.
    """
    free = {name: tree_map_only(Tensor, _free, value) for name, value in kwargs.items()}
    try:
        with torch.no_grad(), quiet():
            outputs = output_tensors(module(**kwargs))
            program = torch.export.export(
                module.eval(),
                (),
                dict(kwargs),
                strict=False,
                dynamic_shapes=free,
                prefer_deferred_runtime_asserts_over_guards=True,
            )
    except Exception as error:  # torch raises UserError, AssertionError, RuntimeError and more
        cause = f"{type(error).__name__}: {first_line(error)}"
        raise DeployError("a step with a cache cannot be captured", cause=cause) from error
    exported = Exported(program=program, graph=program.graph_module, kwargs=dict(kwargs), dims=dict.fromkeys(kwargs))
    axes = {name: _axes(name, tensor) for name, tensor in input_tensors(kwargs).items()}
    return CapturedStep(exported=exported, outputs=outputs, axes=axes)


def _free(tensor: Tensor) -> dict[int, Any]:
    return {0: Dim.AUTO, 2: Dim.AUTO} if tensor.ndim == 4 else {0: Dim.AUTO, 1: Dim.AUTO}


def _axes(name: str, tensor: Tensor) -> dict[int, str]:
    if tensor.ndim == 4:
        return {0: "batch", 2: "source_length" if ".encoder." in name else "past_length"}
    return {0: "batch", 1: _LENGTHS.get(name, "length")}
