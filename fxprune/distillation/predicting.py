"""The terms of what a model predicts: words or classes in chunks of positions (see `heads`), or numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from fxprune.distillation.batch import Batch
from fxprune.distillation.config import LossWeights
from fxprune.distillation.heads import Head, Predictions
from fxprune.distillation.objective import REGRESSION, Objective
from fxprune.traced import Traced

Outputs: TypeAlias = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]  # outputs of the model, values of the taps


class PredictionTerms:
    """Compares the predictions of one model with labels, and with those of another.

    Args:
        objective: with logits.
        weights: of the terms.
        source: place of the value the head is computed from among the taps; None: the logits are whole.
    """

    def __init__(self, objective: Objective, weights: LossWeights, source: int | None) -> None:
        self.objective, self.weights, self.source = objective, weights, source

    def __call__(
        self, student: tuple[Traced, Outputs], teacher: tuple[Traced, Outputs], batch: Batch
    ) -> dict[str, Tensor]:
        """Return the terms that have a weight, unweighted; the task only if the data say what is right."""
        weights = {"task": self.weights.task if self.objective.labelled else 0.0, "kl": self.weights.kl}
        if not any(weights.values()):
            return {}
        found = self._both(student, teacher if weights["kl"] else None, batch, weights)
        return {name: found[name] for name, weight in weights.items() if weight}

    def kl(self, student: tuple[Traced, Outputs], teacher: tuple[Traced, Outputs], batch: Batch) -> Tensor:
        """Return how far two models are from each other, weighted or not."""
        return self._both(student, teacher, batch, {"task": 0.0, "kl": 1.0})["kl"]

    def _both(
        self,
        student: tuple[Traced, Outputs],
        teacher: tuple[Traced, Outputs] | None,
        batch: Batch,
        weights: Mapping[str, float],
    ) -> dict[str, Tensor]:
        """Return the loss beside the labels, and beside the teacher: 0 without one."""
        if self.objective.name == REGRESSION:
            return self._numbers(student[1], teacher and teacher[1], batch)
        rows, words = self._rows(student[1], batch)
        what = Predictions(
            head=self._head(student[0]),
            labels_n=batch.picked_labels,
            teacher=teacher and (self._head(teacher[0]), self._rows(teacher[1], batch)[0]),
            words=words,
            count=batch.whole.labelled,
        )
        return dict(zip(weights, what.losses(rows, **weights), strict=True))

    def measures(self, model: Traced, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return what one model reaches alone: its task loss, and of classes the share it gets right."""
        if not self.objective.labelled:
            return {}
        if self.objective.name == REGRESSION:
            return {"task": F.mse_loss(self._values(outputs), _floats(batch)) * batch.share}
        rows, words = self._rows(outputs, batch)
        count = batch.whole.labelled
        what = Predictions(head=self._head(model), labels_n=batch.picked_labels, teacher=None, words=words, count=count)
        found = {"task": what.losses(rows)[0]}
        if self.objective.classes is not None:
            right = what.head.apply(rows).argmax(-1) == batch.picked_labels
            found["accuracy"] = right.sum() / max(count, 1)
        return found

    def probe(self, model: Traced, outputs: Outputs, batch: Batch, seed: int) -> Tensor:
        """A loss with a gradient where student and teacher are equal: of labels drawn from what the model predicts.

        The squared gradients then sum to the Fisher information, which is the curvature of the KL there; of a number,
        a random projection is the same. What is drawn for a row does not depend on the part of the batch it is in.
        """
        assert batch.labels is not None
        draws = torch.Generator().manual_seed(seed)
        shape = (batch.whole.rows, *batch.labels.shape[1:])
        own = slice(batch.first, batch.first + batch.rows)
        if self.objective.name == REGRESSION:
            values = self._values(outputs)
            return (values * torch.randn(shape, generator=draws)[own].to(values.device)).sum() / batch.whole.rows
        rows, words = self._rows(outputs, batch)
        drawn = torch.rand(shape, generator=draws)[own].to(rows.device).flatten()[batch.labelled]
        head, count = self._head(model), batch.whole.labelled
        what = Predictions(head=head, labels_n=None, draws_n=drawn, teacher=None, words=words, count=count)
        return what.losses(rows, kl=0.0)[0]

    def _numbers(self, student: Outputs, teacher: Outputs | None, batch: Batch) -> dict[str, Tensor]:
        """Return squared errors in the units of the labels; half of one is the KL of two normal laws of variance 1."""
        got = self._values(student)
        wanted = got.detach() if teacher is None else self._values(teacher)
        found = {"task": F.mse_loss(got, _floats(batch)), "kl": F.mse_loss(got, wanted) / 2}
        return {name: value * batch.share for name, value in found.items()}

    def _values(self, outputs: Outputs) -> Tensor:
        assert self.objective.logits is not None
        return outputs[0][self.objective.logits].flatten()

    def _head(self, model: Traced) -> Head:
        return Head() if self.source is None else Head.of(model)

    def _rows(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, int]:
        """Return what goes into the head at the labelled positions, and how wide its logits are."""
        assert self.objective.logits is not None
        logits = outputs[0][self.objective.logits]
        rows = logits if self.source is None else outputs[1][self.source]
        return rows.flatten(0, -2)[batch.labelled], logits.shape[-1]


def _floats(batch: Batch) -> Tensor:
    assert batch.labels is not None
    return batch.labels.float()
