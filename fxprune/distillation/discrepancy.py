"""How far a student's predictions are from its teacher's on a little held-out text, while the run goes.

Cheap enough for now and then: what the teacher predicts is computed once, and of the student's graph nothing is kept.
"""

from __future__ import annotations

import torch

from fxprune.distillation.batch import Batch
from fxprune.distillation.loop import Distiller

_AT_A_CUT = 4  # a measurement around a cut takes this part of the sequences


class Discrepancy:
    """The KL to the teacher at the labelled positions in nats, or the error of the features of a headless model.

    Args:
        distiller: its student is measured, as it is whenever it is.
        batch: held out; each process takes its share.
    """

    def __init__(self, distiller: Distiller, batch: Batch) -> None:
        self.distiller, terms, ranks = distiller, distiller.terms, distiller.ranks
        few = _first(batch, max(1, batch.rows // _AT_A_CUT))
        self._parts = [ranks.share(part).to(ranks.device) for part in (batch, few)]
        with torch.no_grad():
            self._wanted = [
                terms.essence(terms.run(distiller.teacher, part)) if part.rows else None for part in self._parts
            ]

    def __call__(self) -> float:
        """Measure."""
        return self._measure(0)

    def at_a_cut(self) -> float:
        """Measure on fewer sequences: the same ones before and after."""
        return self._measure(1)

    def _measure(self, which: int) -> float:
        part, wanted = self._parts[which], self._wanted[which]
        terms, found = self.distiller.terms, 0.0
        if wanted is not None:
            with torch.no_grad(), self.distiller.evaluating():
                student = terms.run(self.distiller.student.traced, part)
                found = float(terms.discrepancy(student, wanted, part))
        return self.distiller.ranks.total({"": found})[""]


def _first(batch: Batch, rows: int) -> Batch:
    """Return the first rows of a batch as a batch of their own."""
    part = batch.part(0, rows)
    return Batch(part.inputs, part.labels, real=part.real)
