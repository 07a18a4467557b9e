"""Proof 1: shuffle the units of a group in all its tensors at once, and the outputs must not move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx import GraphModule

from fxprune.axes import Axis, Factor, Term, factors_of, resolve, size_of
from fxprune.groups import Groups
from fxprune.traced import tensor_of
from fxprune.verify.compare import output_axes, output_tensors, relative_error, same_draws

Orders = Mapping[Factor, Tensor]  # factor -> the unit that comes to stand at each place
Axes = tuple[Axis, ...]


def permutation_error(traced: GraphModule, groups: Groups, kwargs: Mapping[str, Any], *, seed: int = 0) -> float:
    """Return the largest relative change of any output when all prunable groups are shuffled.

    Args:
        traced: the graph `groups` was found in; it is not changed.
        groups: a wrong coupling in any of them shows as an error near 1.
        kwargs: inputs.
        seed: of the permutations.
    """
    generator = torch.Generator().manual_seed(seed)
    orders = {group.factor: torch.randperm(group.size, generator=generator) for group in groups.prunable}
    tensors = groups.inferred.tensors
    with torch.no_grad():
        plain = {name: _varied(tensor_of(traced, name), generator) for name in tensors}
        moved = {name: shuffle(plain[name], axes, orders) for name, axes in tensors.items()}
    with same_draws():
        before = output_tensors(functional_call(traced, plain, (), dict(kwargs)))
    with same_draws():
        after = output_tensors(functional_call(traced, moved, (), dict(kwargs)))
    pairs = zip(after, before, output_axes(traced, groups.inferred), strict=True)
    return max(relative_error(new, shuffle(old, axes, orders)) for new, old, axes in pairs)


def shuffle(value: Tensor, axes: Axes, orders: Orders) -> Tensor:
    """Move the units of a tensor."""
    for dim, axis in enumerate(axes):
        if any(factor in orders for factor in factors_of(axis)):
            value = value.index_select(dim, order_of(axis, orders).to(value.device))
    return value


def order_of(axis: Axis, orders: Orders) -> Tensor:
    """Return the position that comes to stand at each place of `axis`.

    Each factor's units move on their own: (i, j) of a product comes from (order i, order j), and the parts of a
    concat stay where they are.
    """
    order = torch.zeros(1, dtype=torch.int64)
    for term in resolve(axis):
        inner = _order_of_term(term, orders)
        order = (order[:, None] * len(inner) + inner).flatten()
    return order


def _order_of_term(term: Term, orders: Orders) -> Tensor:
    if isinstance(term, Factor):
        return orders[term] if term in orders else torch.arange(_length((term,)))
    starts = [0]
    for part in term.parts:
        starts.append(starts[-1] + _length(part))
    return torch.cat([order_of(part, orders) + start for part, start in zip(term.parts, starts, strict=False)])


def _length(axis: Axis) -> int:
    size = size_of(axis)
    assert isinstance(size, int), "only axes of known size hold units"
    return size


def _varied(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """A fresh bias or norm weight is the same everywhere, and would hide that it was shuffled wrongly: vary it."""
    constant = tensor.numel() > 1 and tensor.is_floating_point() and bool((tensor == tensor.flatten()[0]).all())
    if not (constant and isinstance(tensor, nn.Parameter)):
        return tensor
    noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
    return tensor + (0.1 * noise).to(tensor)
