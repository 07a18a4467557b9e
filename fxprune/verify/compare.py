"""Comparing outputs, whatever structure they come in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.utils._pytree import tree_leaves

from fxprune.axes import Axis
from fxprune.inference import Inferred, output_values


def output_tensors(output: object) -> list[Tensor]:
    """Return the floating-point tensors of a model output, in order."""
    leaves = tree_leaves(dict(output) if isinstance(output, Mapping) else output)
    return [leaf.detach() for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()]


@contextmanager
def same_draws() -> Iterator[None]:
    """Draw the same random numbers in every such block, without gradients: some models hide patches at random."""
    with torch.no_grad(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(0)
        yield


def output_axes(gm: GraphModule, inferred: Inferred) -> list[tuple[Axis, ...]]:
    """Return the axes of the floating-point outputs, in order."""
    return [inferred.of(node) for node in output_values(gm) if node.meta["val"].is_floating_point()]


def relative_error(got: Tensor, expected: Tensor) -> float:
    """Return the largest difference relative to the largest expected value; infinity if shapes differ."""
    if got.shape != expected.shape:
        return float("inf")
    if not expected.numel():
        return 0.0
    finite = torch.isfinite(expected)
    if not torch.equal(finite, torch.isfinite(got)):
        return float("inf")
    scale = expected[finite].abs().max().clamp_min(1e-12) if finite.any() else torch.tensor(1.0)
    return float((got[finite] - expected[finite]).abs().max() / scale) if finite.any() else 0.0
