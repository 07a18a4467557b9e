"""How large the teacher's features and attention scores are: what every transfer loss is relative to.

Measured once, before the first step. A loss relative to the variance within its own batch would depend on how the batch
is shared out, over micro-batches and over processes; relative to a constant it is a plain mean over sequences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

_LEAST = (
    0.01  # of the mean square: what hardly differs at all, as a pooler nobody trained, is measured against its size
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """What was measured.

    Attributes:
        variances: node of a feature tap -> variance, the mean over its dimensions.
        powers: node of the queries, or scores, of an attention tap -> mean square of the centred scores, (heads,).
    """

    variances: Mapping[str, Tensor] = field(default_factory=dict)
    powers: Mapping[str, Tensor] = field(default_factory=dict)


class ScaleSums:
    """The sums `Scales` follow from, in float64: a variance is a small difference of large sums."""

    def __init__(self) -> None:
        self._features: dict[str, tuple[int, Tensor, Tensor]] = {}  # vectors, sum by dimension, sum of squares
        self._heads: dict[str, tuple[Tensor, Tensor]] = {}  # by head: scores that are seen, sum of squares

    def add_features(self, node: str, teacher: Tensor) -> None:
        """Add the features (..., d) of a tap."""
        flat = teacher.flatten(0, -2).double()
        count, total, squares = self._features.get(node, (0, 0.0, 0.0))
        self._features[node] = (count + len(flat), total + flat.sum(0), squares + flat.square().sum())

    def add_scores(self, node: str, centred_bhsk: Tensor, seen: Tensor | None) -> None:
        """Add the centred attention scores of a tap; what is not seen is zero in them."""
        seen = torch.ones((), dtype=torch.bool, device=centred_bhsk.device) if seen is None else seen
        count, squares = self._heads.get(node, (0.0, 0.0))
        self._heads[node] = (
            count + seen.expand(centred_bhsk.shape).sum((0, 2, 3)).double(),
            squares + centred_bhsk.double().square().sum((0, 2, 3)),
        )

    def result(self) -> Scales:
        """Return the scales; a single vector has no variance, and is measured against zero."""
        return Scales(
            variances={node: _variance(*sums) for node, sums in self._features.items()},
            powers={node: (squares / count.clamp_min(1)).float() for node, (count, squares) in self._heads.items()},
        )


def _variance(count: int, total: Tensor, squares: Tensor) -> Tensor:
    off = total.square().sum() / count if count > 1 else torch.zeros_like(squares)
    return (torch.maximum(squares - off, _LEAST * squares) / (count * len(total))).float()
