"""The ledger of cuts: which dense units are still there, so that many small cuts add up to one plan."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from fxprune.entries import Entry
from fxprune.errors import PlanError, unknown_name
from fxprune.groups import Group, Groups
from fxprune.layouts import layout_of
from fxprune.plan import Plan
from fxprune.units import Kept


class Ledger:
    """Keeps, for each group, the dense ids of the units that are left.

    Args:
        groups: of the dense model, before the first cut.
        aliases: canonical parameter name -> all names it is tied to.
        model: fingerprint of the dense model.
    """

    def __init__(self, groups: Groups, aliases: Mapping[str, tuple[str, ...]], model: str) -> None:
        self.groups, self.model = groups, model
        self.dense = {group.name: group.size for group in groups}
        self._ids, self._tensors = layout_of(groups, aliases)
        self._left: dict[str, Tensor] = {}  # (units,) or, once cut ragged, (outer units, units)
        self._under: dict[str, str] = {}

    def copy(self) -> Ledger:
        """Return a ledger that starts from what is left now, and goes its own way."""
        other = copy.copy(self)
        other._left, other._under = dict(self._left), dict(self._under)
        return other

    def left(self, name: str) -> Tensor:
        """Return the dense ids of the units of a group that are left."""
        return self._left.get(name, torch.arange(self.dense[name]))

    def kept(self, cut: Mapping[str, Tensor]) -> Kept:
        """Turn masks over the units of now into what the rewriter needs.

        Args:
            cut: group name -> bool mask of the units that stay, (units,) or (outer units, units).
        Raises:
            PlanError: unknown or frozen group, a mask of another size, or one that keeps nothing.
        """
        kept = Kept()
        for name, mask in cut.items():
            group = self._cuttable(name)
            self._check(group, mask)
            if mask.all():
                continue
            kept.units[group.factor] = mask
            if mask.ndim == 2:
                kept.under[group.factor] = self.groups[self.groups.ragged[name]].factor
        for factor in kept.units:
            self._check_even(self.groups.by_factor[factor], kept)
        return kept

    def record(self, kept: Kept) -> None:
        """Write down a cut that was made."""
        names = self.groups.by_factor
        for factor, mask in kept.units.items():
            name = names[factor].name
            left = self.left(name)
            if mask.ndim == 2:
                self._under[name] = names[kept.under[factor]].name
                left = left.expand(mask.shape[0], -1) if left.ndim == 1 else left
                rows = [row[keep] for row, keep in zip(left, mask, strict=True)]
                width = kept.count(factor)
                self._left[name] = torch.stack(
                    [row if len(row) == width else row.new_full((width,), -1) for row in rows]
                )
            else:
                self._left[name] = left[..., mask]
        for name, outer in self._under.items():
            rows_left = kept.units.get(self.groups[outer].factor)
            if rows_left is not None:
                self._left[name] = self._left[name][rows_left]

    def plan(self) -> Plan:
        """Return everything cut so far as one plan over dense units."""
        entries = {}
        for name, key in self._ids.items():
            left = self.left(name)
            under = self._under.get(name)
            keep = tuple(map(tuple, left.tolist())) if left.ndim == 2 else tuple(left.tolist())
            entries[key] = Entry(name=name, size=self.dense[name], keep=keep, under=self._ids[under] if under else None)
        return Plan(model=self.model, groups=entries, tensors=self._tensors)

    def cut_for(self, plan: Plan) -> dict[str, Tensor]:
        """Return the masks over the units of now that lead to `plan`.

        Raises:
            PlanError: the plan is of another model, or keeps units that are gone.
        """
        if plan.model != self.model:
            raise PlanError(
                "the plan belongs to another model",
                cause=f"its fingerprint is {plan.model}, the model's is {self.model}",
                remedy="apply a plan to the dense model it was made from",
            )
        cut = {}
        for entry in plan.groups.values():
            if entry.name not in self.groups or entry.size != self.dense[entry.name]:
                raise PlanError(
                    f"the plan cuts a group {entry.name!r} of {entry.size} units, which this model does not have",
                    remedy="analyse the model with the options the plan was made with",
                )
            if entry.rows() != self._rows(entry.name):
                cut[entry.name] = self._mask(entry, plan)
        return {name: mask for name, mask in cut.items() if not mask.all()}

    def _rows(self, name: str) -> list[tuple[int, ...]]:
        left = self.left(name)
        return [tuple(row) for row in (left if left.ndim == 2 else left[None]).tolist()]

    def _mask(self, entry: Entry, plan: Plan) -> Tensor:
        left = self.left(entry.name)
        if entry.under is None:
            keep = torch.tensor(entry.rows()[0])
            if left.ndim == 2 or not torch.isin(keep, left).all():
                raise _gone(entry)
            return torch.isin(left, keep)
        rows = dict(zip(plan.groups[entry.under].rows()[0], entry.rows(), strict=True))
        outer_left = self.left(plan.groups[entry.under].name).tolist()
        mask = torch.zeros(len(outer_left), left.shape[-1], dtype=torch.bool)
        for i, unit in enumerate(outer_left):
            now = left[i] if left.ndim == 2 else left
            if unit not in rows:  # goes with its outer unit
                mask[i, : entry.count] = True
            elif not torch.isin(torch.tensor(rows[unit]), now).all():
                raise _gone(entry)
            else:
                mask[i] = torch.isin(now, torch.tensor(rows[unit]))
        return mask

    def _cuttable(self, name: str) -> Group:
        if name not in self.groups:
            raise PlanError(unknown_name("group", name, self.dense))
        group = self.groups[name]
        if group.frozen is not None:
            raise PlanError(
                f"group {name!r} may not be cut",
                node=group.frozen.node,
                module=group.frozen.module,
                cause=group.frozen.reason,
                remedy="leave it out of the plan",
            )
        return group

    def _check(self, group: Group, mask: Tensor) -> None:
        if mask.dtype != torch.bool or mask.shape[-1] != group.size or not mask.any(-1).all():
            raise PlanError(
                f"cannot keep {int(mask.sum())} of {group.size} units of group {group.name!r}",
                cause=f"the mask has shape {tuple(mask.shape)}",
                remedy="keep at least one unit, with one entry a unit",
            )
        if mask.ndim == 2:
            outer = self.groups.ragged.get(group.name)
            if outer is None or mask.shape[0] != self.groups[outer].size:
                raise PlanError(
                    f"group {group.name!r} may not keep different units in different places",
                    cause="a parameter holds it without an outer group"
                    if outer is None
                    else f"{outer!r} has another size",
                    remedy="pass one mask for all",
                )

    def _check_even(self, group: Group, kept: Kept) -> None:
        mask = kept.units[group.factor]
        if mask.ndim == 2:
            outer = kept.units.get(kept.under[group.factor])
            counts = (mask if outer is None else mask[outer]).sum(-1)
            if int(counts.min()) != int(counts.max()):
                raise PlanError(
                    f"group {group.name!r} keeps {int(counts.min())} to {int(counts.max())} units",
                    remedy="keep the same number of units under each unit of the outer group",
                )
        elif group.name in self._under:
            raise PlanError(f"group {group.name!r} was cut unevenly before", remedy="pass one row for each outer unit")


def _gone(entry: Entry) -> PlanError:
    return PlanError(f"the plan keeps units of {entry.name!r} that are gone", remedy="start from the dense model")
