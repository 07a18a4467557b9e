"""Units that are zeroed in place: no part of what the model computes, yet not gone, and able to learn again.

A unit whose slices are all zero stays zero: the gradient of each is a product with another. To come back it must be cut
off on one side only, so that the other side tells it what it would be good for:

- where weights read it, as the second layer of a feed-forward block reads its neurons, those are zeroed;
- where two computed values are multiplied over it, as queries and keys are, what writes it into the first is zeroed;
- where it is normalised over, as in a residual stream, all that writes it is zeroed, or it would count in every norm.
  A norm over zeroed coordinates is still not the norm over the kept ones: the rewrite moves those outputs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from fxprune.axes import Axis, Factor, factors_of, resolve
from fxprune.contractions import contraction_of
from fxprune.groups import Group, Groups, Member
from fxprune.inferred import Inferred, Line, Use
from fxprune.rules.notation import names_of
from fxprune.traced import tensor_of
from fxprune.units import Kept, axis_mask

Places: TypeAlias = dict[str, tuple[Member, ...]]  # group -> the axes to zero its units on


def all_places(groups: Groups) -> Places:
    """Return everything a unit holds: zeroed there it does not come back."""
    return {group.name: group.members for group in groups.prunable}


def reviving_places(groups: Groups) -> Places:
    """Return where to zero a unit so that it takes no part, and still has a gradient."""
    found = _Reading(groups.inferred)
    return {group.name: found.places(group) for group in groups.prunable}


@torch.no_grad()
def silence(traced: GraphModule, groups: Groups, kept: Kept, places: Places) -> None:
    """Zero the units that `kept` leaves out, on the axes in `places`; constants of the model stay as they are."""
    for factor, mask in kept.units.items():
        name = groups.by_factor[factor].name
        alone = Kept({factor: mask}, {factor: kept.under[factor]} if factor in kept.under else {})
        gone: dict[Axis, Tensor] = {}  # many weights share few axes
        for member in places[name]:
            tensor = tensor_of(traced, member.tensor)
            if isinstance(tensor, nn.Parameter) and tensor.requires_grad:
                axis = resolve(groups.inferred.tensors[member.tensor][member.axis])
                if axis not in gone:
                    gone[axis] = torch.nonzero(~axis_mask(axis, alone))[:, 0].to(tensor.device)
                tensor.index_fill_(member.axis, gone[axis], 0.0)


class _Reading:
    """Which axes of weights are read (summed over in a product) and which are written (anything else)."""

    def __init__(self, inferred: Inferred) -> None:
        self.inferred = inferred
        self.read: dict[Factor, set[Member]] = defaultdict(set)
        self.written: dict[Factor, set[Member]] = defaultdict(set)
        self.first: dict[Factor, set[str]] = defaultdict(set)  # tensors on the first side of products of two values
        for use in inferred.uses:
            self._note(use)

    def places(self, group: Group) -> tuple[Member, ...]:
        read, written = self.read[group.factor], self.written[group.factor]
        if group.role == "hidden":
            found = [member for member in group.members if member in written or member not in read]
        else:
            first = self.first[group.factor]
            found = [member for member in group.members if member in read or member.tensor in first]
        return tuple(found) or group.members

    def _note(self, use: Use) -> None:
        found = contraction_of(use)
        summed = set(found.summed) if found else set()
        for line in use.lines:
            weight = _weight(line.source)
            if weight is not None and len(use.node.all_input_nodes) > 1:
                for member, factor, names in self._held(line, weight):
                    (self.read if summed.intersection(names) else self.written)[factor].add(member)
        if found and not any(_weight(line.source) for line in found.factors):
            for factor in {factor for name in summed for factor in factors_of(use.names.get(name, ()))}:
                left, right = (self._origins(line.source, factor) for line in found.factors[:2])
                self.first[factor] |= left - right or left

    def _held(self, line: Line, weight: str) -> Iterator[tuple[Member, Factor, list[str]]]:
        """Yield the axes of a weight that one operand shows, with the names the rule has for them."""
        axes = self.inferred.tensors[weight]
        for place, (pattern, axis) in enumerate(zip(line.dims(), line.axes, strict=True)):
            for factor in factors_of(axis):
                dims = [place] if line.source.op == "get_attr" else range(len(axes))  # a view may move them
                for dim in dims:
                    if factor in factors_of(axes[dim]):
                        yield Member(tensor=weight, axis=dim), factor, names_of(pattern)

    def _origins(self, node: Node, factor: Factor) -> set[str]:
        """Return the parameters a value has its `factor` from."""
        todo, seen = [node], {node}
        while todo:
            for other in todo.pop().all_input_nodes:
                held = (axis for axes in self.inferred.axes.get(other, []) for axis in axes)
                if other not in seen and any(factor in factors_of(axis) for axis in held):
                    seen.add(other)
                    todo.append(other)
        return {str(node.target) for node in seen if node.op == "get_attr"}


def _weight(node: Node) -> str | None:
    """Return the parameter that a value is, or is a mere view of."""
    while node.op == "call_function" and len(node.all_input_nodes) == 1:
        node = node.all_input_nodes[0]
    return str(node.target) if node.op == "get_attr" else None
