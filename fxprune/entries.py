"""What a plan says of one group, and how that is read and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fxprune.errors import PlanError

Units = tuple[int, ...]
_LARGEST = 2**24  # units of one group: what a plan says is allocated before a model is there to compare it with


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What stays of one group.

    Attributes:
        name: of the group.
        size: number of units of the dense model.
        keep: kept units, ascending; for a ragged group one list for each kept unit of `under`.
        under: id of the outer group, if ragged.
    """

    name: str
    size: int
    keep: Units | tuple[Units, ...]
    under: str | None = None

    @property
    def count(self) -> int:
        """Number of kept units (for each outer unit, if ragged)."""
        return len(self.rows()[0])

    def rows(self) -> list[Units]:
        """Return the kept units under each kept outer unit; just one row if not ragged."""
        if self.under is None:
            return [tuple(unit for unit in self.keep if isinstance(unit, int))]
        return [row for row in self.keep if isinstance(row, tuple)]

    def to_data(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        data: dict[str, Any] = {"name": self.name, "size": self.size, "keep": self.keep}
        return data | {"under": self.under} if self.under else data


def mask_of(units: Iterable[int], size: int) -> Tensor:
    """Return a bool mask of `size` with `units` set."""
    mask = torch.zeros(size, dtype=torch.bool)
    mask[list(units)] = True
    return mask


def mask_of_entry(entry: Entry, outer: Entry | None) -> Tensor:
    """Return the mask over dense units: (size,) or, if ragged, (size of `outer`, size); rows of removed units empty."""
    if outer is None:
        return mask_of(entry.rows()[0], entry.size)
    mask = torch.zeros(outer.size, entry.size, dtype=torch.bool)
    for place, units in zip(outer.rows()[0], entry.rows(), strict=True):
        mask[place] = mask_of(units, entry.size)
    return mask


def entries_from(data: Mapping[str, Mapping[str, Any]]) -> dict[str, Entry]:
    """Read and check the entries of a plan, by group id.

    Raises:
        PlanError: an entry keeps units that do not exist, no units, or not the same number everywhere.
        ValueError, KeyError, TypeError: the data has another form.
    """
    entries = {str(key): _entry(value) for key, value in data.items()}
    for entry in entries.values():
        rows = entry.rows()
        if entry.under is not None:
            outer = entries.get(entry.under)
            if outer is None or outer.under is not None or len(rows) != outer.count:
                raise PlanError(
                    f"group {entry.name!r} has {len(rows)} lists of units, not one for each kept unit of an outer group"
                )
        if not rows or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
            raise PlanError(f"group {entry.name!r} keeps no units, or not the same number everywhere")
        for row in rows:
            if row != tuple(sorted(set(row))) or not 0 <= row[0] <= row[-1] < entry.size:
                raise PlanError(f"group {entry.name!r} keeps units that are not ascending numbers below {entry.size}")
    return entries


def _entry(data: Mapping[str, Any]) -> Entry:
    under, size = data.get("under"), _whole(data["size"])
    if not 0 < size <= _LARGEST:
        raise PlanError(f"group {str(data['name'])[:80]!r} has {size} units")
    return Entry(
        name=str(data["name"]),
        size=size,
        keep=tuple(map(_whole, data["keep"]))
        if under is None
        else tuple(tuple(map(_whole, row)) for row in data["keep"]),
        under=None if under is None else str(under),
    )


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value
