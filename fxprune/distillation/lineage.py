"""Where the units of a student stood in its teacher."""

from __future__ import annotations

import torch
from torch import Tensor

from fxprune.axes import Axis, Factor, resolve, units_of
from fxprune.student import Student


def lineage(student: Student, axis: Axis) -> Tensor:
    """Return the dense position of each position of an axis that is a product of factors."""
    place = torch.zeros(1, dtype=torch.int64)
    for factor in resolve(axis):
        assert isinstance(factor, Factor)
        group = student.groups.by_factor.get(factor)
        units = torch.arange(units_of(factor)) if group is None else student.ledger.left(group.name)
        dense = len(units) if group is None else student.ledger.dense[group.name]
        place = (place[:, None] * dense + units).flatten()
    return place
