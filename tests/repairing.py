"""Repairs of tiny models: cut, with or without doubled units, and fitted anew."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from models import ALL, Inputs, inputs_of, traced_of
from torch import Tensor
from zoo.cutting import halves
from zoo.handwritten import HANDWRITTEN

from fxprune.groups import Group
from fxprune.passes import CANONICAL, run_passes
from fxprune.refit import Settings
from fxprune.repair import Repairer, Repairs
from fxprune.student import Student
from fxprune.traced import Traced, tensor_of
from fxprune.tracing import capture
from fxprune.units import positions
from fxprune.verify.compare import output_tensors, relative_error

BATCHES = (8, 9, 10, 11)


def dense_of(name: str) -> Traced:
    """A captured model in float64."""
    return traced_of(name) if name in ALL else copy.deepcopy(_handwritten(name))


@cache
def _handwritten(name: str) -> Traced:
    torch.manual_seed(0)
    traced = capture(HANDWRITTEN[name].build().double().eval(), inputs(name))
    run_passes(traced, CANONICAL)
    return traced


def inputs(name: str, batch: int = 5) -> Inputs:
    if name in ALL:
        return inputs_of(name, batch)
    found = HANDWRITTEN[name].inputs(batch, 13)
    return {key: value.double() if value.is_floating_point() else value for key, value in found.items()}


def calibration(name: str) -> list[Inputs]:
    return [inputs(name, batch) for batch in BATCHES]


@dataclass
class Mended:
    """A model that was cut and repaired."""

    name: str
    dense: Traced
    student: Student
    repairs: Repairs

    @classmethod
    def of(
        cls,
        name: str,
        masks: dict[str, Tensor] | None = None,
        *,
        dense: Traced | None = None,
        settings: Settings | None = None,
        given: Sequence[Inputs] | None = None,
    ) -> Mended:
        """Cut a copy, by default to random halves, and repair it."""
        dense = dense_of(name) if dense is None else dense
        student = Student(copy.deepcopy(dense))
        repairer = Repairer(student.traced, student.groups, settings)
        student.cut(halves(student.groups, ragged=False) if masks is None else masks, followers=[repairer.remember])
        return cls(name, dense, student, repairer.repair(calibration(name) if given is None else given))

    def error(self) -> float:
        """Largest relative error of an output on inputs the repair has not seen."""
        fresh = inputs(self.name)
        with torch.no_grad():
            got, wanted = (output_tensors(model(**fresh)) for model in (self.student.traced, self.dense))
        return max(relative_error(a, b) for a, b in zip(got, wanted, strict=True))


def doubled(dense: Traced, name: str) -> tuple[Traced, dict[str, Tensor]]:
    """Make the second half of a group's units equal to the first, and return the masks that cut it off."""
    student = Student(copy.deepcopy(dense))
    group = student.groups[name]
    half = group.size // 2
    with torch.no_grad():
        for tensor, axis in sorted({(member.tensor, member.axis) for member in group.members}):
            _double(tensor_of(student.traced, tensor), student, group, axis, half, tensor)
    return student.traced, {name: torch.arange(group.size) < half}


def _double(value: Tensor, student: Student, group: Group, axis: int, half: int, tensor: str) -> None:
    laid = positions(student.groups.axis(tensor, axis))
    for own, (factor, units) in enumerate(laid):
        if factor is group.factor:
            others = [column.tolist() for place, (_, column) in enumerate(laid) if place != own]
            value.copy_(value.index_select(axis, _sources(units.tolist(), others, half)))


def _sources(units: list[int], others: list[list[int]], half: int) -> Tensor:
    """Return where each position is copied from: unit - half, at the same place in all other factors."""
    places: dict[tuple[int, ...], int] = {}
    keys = []
    for i, unit in enumerate(units):
        key = (unit, *(column[i] for column in others))
        nth = next(n for n in range(len(units)) if (*key, n) not in places)  # parts of a concat repeat a unit
        places[*key, nth] = i
        keys.append((*key, nth))
    return torch.tensor(
        [places[key[0] - half, *key[1:]] if half <= key[0] < 2 * half else i for i, key in enumerate(keys)]
    )
