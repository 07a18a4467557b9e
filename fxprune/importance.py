"""Importance of single weights: several scores, higher = keep; `unit_scores` sums them over units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from fxprune.errors import ScoreError, unknown_name

WeightScore: TypeAlias = Callable[[Tensor, Tensor | None], Tensor]


def magnitude(weight: Tensor, grad: Tensor | None = None) -> Tensor:
    """Score an entry by its size, ``|weight|``.

    Source:
        Han et al. 2015, arXiv:1506.02626.
    """
    return weight.abs()


def sensitivity(weight: Tensor, grad: Tensor | None) -> Tensor:
    """Estimate how far the loss moves if an entry becomes zero: ``|weight * grad|``.

    Args:
        weight: any shape.
        grad: same shape as `weight`; gradient of the batch-mean loss.
    Returns:
        Same shape, >= 0, in units of the loss (nats).
    Raises:
        ScoreError: there is no gradient.
    Source:
        Zhang et al. 2022 (PLATON), arXiv:2206.12562, equation 2; Liang et al. 2023 (HomoDistil), equation 5.

    >>> sensitivity(torch.tensor([1., -2.]), torch.tensor([3., 1.]))
    tensor([3., 2.])
    """
    return (weight * _needed(grad)).abs()


def fisher(weight: Tensor, grad: Tensor | None) -> Tensor:
    """Second-order estimate of the same: ``(weight * grad)^2``, the diagonal of the empirical Fisher information.

    Source:
        Theis et al. 2018, arXiv:1801.05787.
    """
    return (weight * _needed(grad)).square()


def movement(weight: Tensor, grad: Tensor | None) -> Tensor:
    """Score an entry by whether training moves it away from zero: ``-weight * grad``.

    Source:
        Sanh et al. 2020, arXiv:2005.07683, equation 4 (one step of the sum).
    """
    return -weight * _needed(grad)


def random_score(weight: Tensor, grad: Tensor | None = None) -> Tensor:
    """Score at random: the baseline every score must beat."""
    return torch.rand_like(weight)


def platon(weight: Tensor, grad: Tensor | None) -> Tensor:
    """One step of ``mean(I) * mean(|I - mean(I)|)`` with the sensitivity I; `smoothing.Platon` takes the two means.

    Source:
        Zhang et al. 2022 (PLATON), arXiv:2206.12562, equations 4 to 7.
    """
    return sensitivity(weight, grad)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What units can be ranked by.

    Attributes:
        of_weights: the score of each weight.
        needs_gradient: whether it asks how the loss changes.
        needs_steps: whether one step says nothing: the score is how it varies over several.
    """

    of_weights: WeightScore
    needs_gradient: bool = True
    needs_steps: bool = False


SCORES: Mapping[str, Score] = {
    "magnitude": Score(of_weights=magnitude, needs_gradient=False),
    "sensitivity": Score(of_weights=sensitivity),
    "fisher": Score(of_weights=fisher),
    "movement": Score(of_weights=movement),
    "platon": Score(of_weights=platon, needs_steps=True),
    "random": Score(of_weights=random_score, needs_gradient=False),
}


def score_called(name: str, *, over_time: bool = True) -> Score:
    """Return the score called `name`.

    Args:
        name: one of `SCORES`.
        over_time: whether there are several steps to look at.
    Raises:
        ScoreError: unknown name; the known ones are listed.
    """
    known = [key for key, score in SCORES.items() if over_time or not score.needs_steps]
    if name not in known:
        raise ScoreError(unknown_name("score", name, known))
    return SCORES[name]


def _needed(grad: Tensor | None) -> Tensor:
    if grad is None:
        raise ScoreError(
            "this score needs gradients, and a weight has none", remedy="run backward first, or use 'magnitude'"
        )
    return grad
