"""The journal of a run: every cut, with the units that went, the scores that chose them, and what it did."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, TypeAlias

from torch import Tensor

from fxprune.distillation.checkpoints.history import pair, parsed
from fxprune.distillation.checkpoints.saved import Saved
from fxprune.distillation.cutter import Cutter
from fxprune.distillation.report import StepReport

Unit: TypeAlias = int | tuple[int, int]  # dense id; of a group that may be ragged, with that of its outer unit before
Units: TypeAlias = dict[str, frozenset[Unit]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One cut.

    Attributes:
        step: after whose update it was made.
        removed: group -> dense ids of the units that went, or were zeroed until the next rewrite; as [outer unit, unit]
            where a group may keep different ones under each.
        returned: likewise, units that were zeroed before and are back.
        scores: hash of the scores that chose them.
        params: parameters before and after.
        jump: discrepancy to the teacher right before and after; None: it was not measured.
    """

    step: int
    removed: Mapping[str, tuple[Unit, ...]]
    returned: Mapping[str, tuple[Unit, ...]]
    scores: str
    params: tuple[int, int]
    jump: tuple[float, float] | None

    @property
    def units(self) -> int:
        """How many units went."""
        return sum(map(len, self.removed.values()))

    @property
    def cost(self) -> float | None:
        """How much further from its teacher the student was afterwards."""
        return None if self.jump is None else self.jump[1] - self.jump[0]

    def to_line(self) -> str:
        """Return it as a line of JSON."""
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None}) + "\n"


def present(cutter: Cutter) -> Units:
    """Return the units the student computes with, by dense id: neither gone nor zeroed."""
    groups, ledger, found = cutter.student.groups, cutter.student.ledger, {}
    for name in cutter.dense:
        outer = groups.ragged.get(name)
        left = ledger.left(name)
        if outer is None:
            found[name] = frozenset[Unit](_staying(left, cutter.silent.get(name)))
            continue
        rows = left.expand(groups[outer].size, -1) if left.ndim == 1 else left
        masks = cutter.silent.get(name)
        outers = set(_staying(ledger.left(outer), cutter.silent.get(outer)))
        found[name] = frozenset[Unit](
            (above, unit)
            for i, above in enumerate(ledger.left(outer).tolist())
            if above in outers
            for unit in _staying(rows[i], None if masks is None else masks[i])
            if unit >= 0
        )
    return found


def _staying(ids: Tensor, mask: Tensor | None) -> list[int]:
    found: list[int] = (ids if mask is None else ids[mask]).tolist()
    return found


def cut_between(before: Units, after: Units, step: StepReport, params: int, scores: str) -> Cut:
    """Describe what a step cut.

    Args:
        before: units before it.
        after: units after it.
        step: what it told.
        params: of the student before it.
        scores: hash of those that chose.
    """
    return Cut(
        step=step.step,
        removed=_without(before, after),
        returned=_without(after, before),
        scores=scores,
        params=(params, step.params),
        jump=step.jump,
    )


def _without(some: Units, others: Units) -> dict[str, tuple[Unit, ...]]:
    return {name: tuple(sorted(gone)) for name in sorted(some) if (gone := some[name] - others[name])}


def cuts_from(text: str) -> list[Cut]:
    """Read and check a journal.

    Raises:
        CheckpointError: a line is no cut, or out of order.
    """
    cuts = [_cut(parsed(line, f"journal/{number}/")) for number, line in enumerate(text.splitlines(), 1)]
    for earlier, later in pairwise(cuts):
        if later.step <= earlier.step:
            raise Saved(within="journal/").wrong(f"step {later.step} comes after step {earlier.step}")
    return cuts


def _cut(saved: Saved) -> Cut:
    if odd := saved.data.keys() - {field.name for field in fields(Cut)}:
        raise saved.wrong(f"{min(odd)} is no part of a cut")
    params = saved.items("params", int)
    if len(params) != 2 or min(params) < 1:
        raise saved.wrong(f"params are {params!r:.60}")
    return Cut(
        step=saved.integer("step", 1),
        removed=_units(saved.part("removed")),
        returned=_units(saved.part("returned")),
        scores=saved.text("scores"),
        params=(params[0], params[1]),
        jump=pair(saved, "jump"),
    )


def _units(saved: Saved) -> dict[str, tuple[Unit, ...]]:
    return {name: tuple(_unit(saved, unit) for unit in saved.items(name, (int, list))) for name in saved.data}


def _unit(saved: Saved, unit: Any) -> Unit:
    parts = unit if isinstance(unit, list) else [unit]
    numbers = all(isinstance(part, int) and not isinstance(part, bool) and part >= 0 for part in parts)
    if not numbers or len(parts) not in (1, 2):
        raise saved.wrong(f"{unit!r:.60} is no unit")
    return (parts[0], parts[1]) if len(parts) == 2 else parts[0]


def to_text(cuts: Iterable[Cut]) -> str:
    """Return cuts as lines."""
    return "".join(cut.to_line() for cut in cuts)
