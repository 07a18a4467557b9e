"""Cutting an entry of the zoo to random halves, and how far the result is from what it must be."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fxprune.groups import Groups, byproducts
from fxprune.ledger import Ledger
from fxprune.student import Student, refresh_shapes
from fxprune.traced import Traced
from fxprune.units import Kept
from fxprune.verify.compare import output_tensors, relative_error
from fxprune.verify.masked import masked_error
from fxprune.verify.permutation import permutation_error
from fxprune.verify.structure import structure_faults
from zoo.entry import Inputs


@dataclass(frozen=True, slots=True)
class Halved:
    """A captured model before and after a random half of every group that is not frozen was removed."""

    dense: Traced
    groups: Groups  # of the dense model
    slim: Traced
    after: Groups
    kept: Kept

    @classmethod
    def of(cls, dense: Traced, seed: int = 0) -> Halved:
        """Cut a copy; groups that may be ragged keep another half under each outer unit."""
        freed = byproducts(dense)
        before, student = Student(copy.deepcopy(dense), free_outputs=freed), Student(dense, free_outputs=freed)
        masks = halves(before.groups, ragged=True, seed=seed)
        kept = Ledger(before.groups, {}, "oracle").kept(masks)
        student.cut(masks)
        refresh_shapes(student.traced, student.groups)
        slim = student.traced
        slim.meta["plan"] = student.plan
        return cls(before.traced, before.groups, slim, student.groups, kept)

    def permutation(self, inputs: Inputs) -> float:
        """Proof 1."""
        return permutation_error(self.dense, self.groups, inputs)

    def masked(self, inputs: Inputs) -> float:
        """Proof 2."""
        return masked_error(self.dense, self.slim, self.groups, self.kept, inputs)

    def faults(self, inputs: Inputs) -> list[str]:
        """Proof 3."""
        return structure_faults(self.slim, self.after, inputs)


def halves(groups: Groups, *, ragged: bool = False, seed: int = 0) -> dict[str, Tensor]:
    """Return masks that keep a random half of every prunable group; ragged ones another half for each outer unit."""
    generator = torch.Generator().manual_seed(seed)
    masks = {}
    for group in groups.prunable:
        rows = groups[groups.ragged[group.name]].size if ragged and group.name in groups.ragged else None
        picked = [_half(group.size, generator) for _ in range(rows or 1)]
        masks[group.name] = torch.stack(picked) if rows else picked[0]
    return masks


def _half(size: int, generator: torch.Generator) -> Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[torch.randperm(size, generator=generator)[: max(1, size // 2)]] = True
    return mask


def difference(traced: nn.Module, model: nn.Module, inputs: Inputs) -> float:
    """Return how far two models are apart, relative to the largest output."""
    with torch.no_grad():
        pairs = zip(output_tensors(traced(**inputs)), output_tensors(_returned(model(**inputs))), strict=True)
        return max(relative_error(got, expected) for got, expected in pairs)


def _returned(outputs: object) -> object:
    """Leave out a cache, which capture switches off."""
    if isinstance(outputs, dict):
        return {name: value for name, value in outputs.items() if "cache" not in name and "past" not in name}
    return outputs
