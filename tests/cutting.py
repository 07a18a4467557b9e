"""Cutting test models at random, and proving the result."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cache

from models import traced_of
from torch import Tensor
from zoo.cutting import halves

from fxprune.groups import Groups, analyse
from fxprune.ledger import Ledger
from fxprune.passes import SliceUnits, run_passes
from fxprune.plan import Plan, fingerprint
from fxprune.traced import Traced
from fxprune.units import Kept
from fxprune.verify.masked import masked_error
from fxprune.verify.structure import structure_faults


@dataclass
class Cut:
    """A model before and after a cut."""

    dense: Traced
    before: Groups
    slim: Traced
    after: Groups
    ledger: Ledger
    kept: Kept  # over the dense units, for the oracle

    @classmethod
    def of(cls, dense: Traced, masks: dict[str, Tensor] | None = None, *, ragged: bool = False) -> Cut:
        """Cut a copy of `dense`, by default to random halves."""
        slim = copy.deepcopy(dense)
        before, after = analyse(dense), analyse(slim)
        masks = halves(before, ragged=ragged) if masks is None else masks
        oracle = Ledger(before, {}, "oracle")
        cut = cls(dense, before, slim, after, ledger_of(slim, after), oracle.kept(masks))
        cut.apply(masks)
        return cut

    def apply(self, masks: dict[str, Tensor]) -> None:
        """Cut the slim model further."""
        kept = self.ledger.kept(masks)
        self.ledger.record(kept)
        run_passes(self.slim, [SliceUnits(self.after.inferred, kept)])

    @property
    def plan(self) -> Plan:
        """Everything cut so far."""
        return self.ledger.plan()

    def masked_error(self, inputs: dict[str, Tensor]) -> float:
        """Proof 2."""
        return masked_error(self.dense, self.slim, self.before, self.kept, inputs)

    def faults(self, inputs: dict[str, Tensor]) -> list[str]:
        """Proof 3."""
        return structure_faults(self.slim, self.after, inputs)


@cache
def half_of(name: str, *, ragged: bool) -> Cut:
    """Return a tested model cut to random halves; shared by tests, so do not cut it further."""
    return Cut.of(traced_of(name), ragged=ragged)


def ledger_of(traced: Traced, groups: Groups) -> Ledger:
    """Return the ledger of a captured model that was not cut yet."""
    return Ledger(groups, traced.provenance.aliases, fingerprint(traced.state_dict()))
