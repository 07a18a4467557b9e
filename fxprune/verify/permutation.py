"""Proof 1: shuffle the units of a group in all its tensors at once, and the outputs must not move."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from fxprune.axes import Axis, Concat, Factor, factors_of, resolve, size_of
from fxprune.groups import Groups
from fxprune.traced import replace_tensor, tensor_of
from fxprune.units import positions
from fxprune.verify.compare import output_axes, output_tensors, relative_error


def permutation_error(traced: GraphModule, groups: Groups, kwargs: Mapping[str, Any], *, seed: int = 0) -> float:
    """Return the largest relative change of any output when all prunable groups are shuffled.

    Args:
        traced: the graph `groups` was found in; it is copied.
        groups: a wrong coupling in any of them shows as an error near 1.
        kwargs: inputs.
        seed: of the permutations.
    """
    shuffled = copy.deepcopy(traced)
    generator = torch.Generator().manual_seed(seed)
    orders = {group.factor: torch.randperm(group.size, generator=generator) for group in groups.prunable}
    with torch.no_grad():
        before = output_tensors(traced(**kwargs))
        for name, axes in groups.inferred.tensors.items():
            tensor = _moved(tensor_of(shuffled, name), axes, orders)
            moved = torch.nn.Parameter(tensor) if isinstance(tensor_of(shuffled, name), torch.nn.Parameter) else tensor
            replace_tensor(shuffled, name, moved)
        after = output_tensors(shuffled(**kwargs))
    pairs = zip(after, before, output_axes(traced, groups.inferred), strict=True)
    return max(relative_error(new, _moved(old, axes, orders)) for new, old, axes in pairs)


def _moved(value: Tensor, axes: tuple[Axis, ...], orders: Mapping[Factor, Tensor]) -> Tensor:
    """Shuffle a value like the tensors: an output that may be cut moves with its group."""
    for dim, axis in enumerate(axes):
        if any(factor in orders for factor in factors_of(axis)):
            value = value.index_select(dim, _order(axis, orders, value.shape[dim]))
    return value


def _order(axis: Axis, orders: Mapping[Factor, Tensor], length: int) -> Tensor:
    """Where each position of `axis` goes: every factor's units move on their own, all others stay."""
    placed = positions(axis)
    # a position is named by its units; moving it means finding the position with the moved units
    place = torch.arange(length)
    keys, targets = torch.zeros(length, dtype=torch.int64), torch.zeros(length, dtype=torch.int64)
    for factor, units in placed:
        size = int(units.max()) + 2
        moved = torch.where(units < 0, units, orders[factor][units.clamp_min(0)]) if factor in orders else units
        keys, targets = keys * size + units + 1, targets * size + moved + 1
    segments = _segments(axis, length)
    keys, targets = keys * (length + 1) + segments, targets * (length + 1) + segments
    lookup = {int(key): int(i) for i, key in zip(place, keys, strict=True)}
    return torch.tensor([lookup[int(target)] for target in targets])


def _segments(axis: Axis, length: int) -> Tensor:
    """Number the parts of concats, so that equal units in different parts stay apart."""
    label = torch.zeros(length, dtype=torch.int64)
    terms = resolve(axis)
    sizes = [int(size_of((term,))) for term in terms]  # type: ignore[arg-type]
    for place, term in enumerate(terms):
        if isinstance(term, Concat):
            inner = prod(sizes[place + 1 :])
            outer = prod(sizes[:place])
            own = torch.cat(
                [_segments(part, int(size_of(part))) * len(term.parts) + i for i, part in enumerate(term.parts)]
            )  # type: ignore[arg-type]
            label = label * (int(own.max()) + 1) + own.repeat_interleave(inner).repeat(outer)
    return label
