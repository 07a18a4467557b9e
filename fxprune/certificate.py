"""The certificate: three independent proofs that a slim graph computes what its plan says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch.fx import GraphModule

from fxprune.errors import VerifyError
from fxprune.groups import Groups, analyse
from fxprune.ledger import Ledger
from fxprune.plan import Plan, fingerprint
from fxprune.verify.masked import masked_error
from fxprune.verify.permutation import permutation_error
from fxprune.verify.structure import structure_faults

TOLERANCE = 1e-4  # float32, relative to the largest output of deep models; tiny ones reach 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What was proved, and how closely.

    Attributes:
        permutation: largest relative change of an output when all groups of the dense model are shuffled.
        masked: largest relative difference between the masked dense graph and the slim one.
        faults: shapes, ties or literals that are not as predicted; empty if sound.
        tolerance: what the two errors had to stay below.
        plan: hash of the plan.
        weights: "dense": dense weights and plan give the slim weights. "slim": those were trained or repaired since,
            and stood in their places of the dense model for the proof, which is of graph and plan alone.
    """

    permutation: float
    masked: float
    faults: tuple[str, ...]
    tolerance: float
    plan: str
    weights: str = "dense"

    @property
    def holds(self) -> bool:
        """Whether all three proofs succeeded."""
        return all(error <= self.tolerance for error in (self.permutation, self.masked)) and not self.faults

    def to_json(self) -> str:
        """Return the certificate as JSON text."""
        return json.dumps({**asdict(self), "holds": self.holds}, indent=2)


def certify(
    dense: GraphModule,
    slim: GraphModule,
    groups: Groups,
    plan: Plan,
    kwargs: Mapping[str, Any],
    *,
    free_outputs: frozenset[int] = frozenset(),
    tolerance: float = TOLERANCE,
    changed: bool = False,
) -> Certificate:
    """Prove that `slim` is `dense` without the units `plan` removed.

    Args:
        dense: the graph before the first cut, with the weights the slim ones were sliced from.
        slim: the graph after it.
        groups: of the slim graph.
        plan: everything cut in between.
        kwargs: inputs of both.
        free_outputs: as the groups were analysed with.
        tolerance: relative to the largest value of each output.
        changed: whether the slim weights were trained or repaired; they are then put into `dense`.
    Raises:
        VerifyError: a proof failed; it says which and by how much.
        PlanError: the plan is not of `dense`.
    """
    if changed:
        dense.load_state_dict(plan.implant(dense.state_dict(), slim.state_dict()), strict=False)
    before = analyse(dense, free_outputs=free_outputs)
    ledger = Ledger(before, dense.meta["provenance"].aliases, fingerprint(dense.state_dict()))
    kept = ledger.kept(ledger.cut_for(plan))
    faults = tuple(structure_faults(slim, groups, kwargs))
    certificate = Certificate(
        permutation=permutation_error(dense, before, kwargs),
        faults=faults,
        # a graph of wrong shapes may not even run
        masked=float("inf") if faults else masked_error(dense, slim, before, kept, kwargs),
        tolerance=tolerance,
        plan=hashlib.sha256(plan.to_json().encode()).hexdigest()[:16],
        weights="slim" if changed else "dense",
    )
    if not certificate.holds:
        masked = "not computed" if faults else f"{certificate.masked:.1e}"
        raise VerifyError(
            "the slim model does not compute what the plan says",
            cause=f"permutation {certificate.permutation:.1e}, masked {masked}, "
            f"faults: {'; '.join(faults[:3]) or 'none'}",
            remedy="do not use this model; report the model class and the versions of torch and transformers",
        )
    return certificate
