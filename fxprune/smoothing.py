"""Scores over time: single batches are noisy, so units are ranked by moving averages that follow the cuts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fxprune.unit_scores import UnitScores


class Smoothed:
    """Exponential moving average of unit scores, ``s <- beta s + (1 - beta) score``.

    Source:
        Zhang et al. 2022 (PLATON), equation 4; beta = 0.85 there.
    """

    def __init__(self, beta: float = 0.85) -> None:
        self.beta = beta
        self.mean: UnitScores = {}

    @property
    def value(self) -> UnitScores:
        """What units are ranked by."""
        return self.mean

    @property
    def averages(self) -> dict[str, UnitScores]:
        """All that is kept, by what it is an average of; changed in place, it is another state."""
        return {"mean": self.mean}

    @property
    def tensors(self) -> list[Tensor]:
        """All that is kept, in an order that depends on the names alone."""
        return [average[name] for average in self.averages.values() for name in sorted(average)]

    def update(self, scores: UnitScores) -> UnitScores:
        """Add one step's scores; return what units are ranked by."""
        _lerp(self.mean, scores, self.beta)
        return self.value

    def cut(self, masks: Mapping[str, Tensor], ragged: Mapping[str, str]) -> None:
        """Drop the units that were cut."""
        _cut(self.mean, masks, ragged)


class Platon(Smoothed):
    """Upper confidence bound of unit scores: the moving average times how far single steps stray from it.

    ``mean <- b1 mean + (1 - b1) I``, ``U = |I - mean|``, ``spread <- b2 spread + (1 - b2) U``, score = mean * spread: a
    unit whose score is uncertain may yet turn out to matter, so it stays longer.

    Args:
        beta: b1, of the scores.
        spread_beta: b2, of their spread.
    Source:
        Zhang et al. 2022 (PLATON), arXiv:2206.12562, equations 4 to 7, on units instead of weights.
    """

    def __init__(self, beta: float = 0.85, spread_beta: float = 0.95) -> None:
        super().__init__(beta)
        self.spread_beta = spread_beta
        self.spread: UnitScores = {}

    @property
    def value(self) -> UnitScores:
        """What units are ranked by."""
        return {name: mean * self.spread[name] for name, mean in self.mean.items()}

    @property
    def averages(self) -> dict[str, UnitScores]:
        """All that is kept, by what it is an average of; changed in place, it is another state."""
        return {**super().averages, "spread": self.spread}

    def update(self, scores: UnitScores) -> UnitScores:
        """Add one step's scores; return what units are ranked by."""
        if not self.mean:  # as in the paper, from zero: the first step strays from it, so that all ranks are defined
            self.mean = {name: torch.zeros_like(score) for name, score in scores.items()}
            self.spread = {name: torch.zeros_like(score) for name, score in scores.items()}
        _lerp(self.mean, scores, self.beta)
        _lerp(self.spread, {name: (score - self.mean[name]).abs() for name, score in scores.items()}, self.spread_beta)
        return self.value

    def cut(self, masks: Mapping[str, Tensor], ragged: Mapping[str, str]) -> None:
        """Drop the units that were cut."""
        super().cut(masks, ragged)
        _cut(self.spread, masks, ragged)


def smoothing_for(importance: str, beta: float = 0.85) -> Smoothed:
    """Return the average units are ranked by under the score called `importance`."""
    return Platon(beta) if importance == "platon" else Smoothed(beta)


def _lerp(mean: UnitScores, scores: UnitScores, beta: float) -> None:
    for name, score in scores.items():
        if name in mean:
            mean[name].lerp_(score, 1 - beta)
        else:
            mean[name] = score.clone()


def _cut(scores: UnitScores, masks: Mapping[str, Tensor], ragged: Mapping[str, str]) -> None:
    for name, score in scores.items():
        mask, rows = masks.get(name), masks.get(ragged.get(name, ""))
        if mask is not None and mask.ndim == 2:
            keep = [row[chosen] for row, chosen in zip(score, mask, strict=True)]
            width = len(keep[int(rows.nonzero()[0, 0])]) if rows is not None else len(keep[0])
            score = torch.stack([row[:width] if len(row) >= width else score.new_zeros(width) for row in keep])
        elif mask is not None:
            score = score[..., mask]
        scores[name] = score if rows is None else score[rows]
