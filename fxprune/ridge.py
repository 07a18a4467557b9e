"""Ridge regression from running sums, its penalty chosen on rows it was not fitted to.

Axes of tensors: s index of a regression of its own, n rows, k features, o outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

GRID = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # relative to the mean square of the features, the strongest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What one regression found.

    Attributes:
        delta: (s, o, k), to be added to the weights; zero where nothing helped.
        ridge: the penalty chosen; None: the weights are best as they are.
        fitted: squared error relative to the variance of what is wanted, before and after, on the rows fitted to.
        held_out: likewise on the others.
    """

    delta: Tensor
    ridge: float | None
    fitted: tuple[float, float]
    held_out: tuple[float, float]


class Gram:
    """``x^T x`` in float64, and its factors by penalty, for all regressions on the same features.

    Args:
        parts: x (s, n, k), part by part.
        free: columns at the end that carry no penalty, such as one of ones.
    """

    def __init__(self, parts: Iterable[Tensor], free: int = 0) -> None:
        self.inner = _summed(x.mT @ x for x in parts)
        self._penalty = self.inner.diagonal(dim1=-2, dim2=-1).clone()
        width = self._penalty.shape[-1] - free
        self._penalty[..., :width] = self._penalty[..., :width].mean(-1, keepdim=True).clamp_min(1e-30)
        self._penalty[..., width:] *= 1e-9
        self._factors: dict[float, Tensor | None] = {}

    def solve(self, ridge: float, cross: Tensor) -> Tensor | None:
        """Return delta (s, o, k) with ``delta (inner + penalty) = cross``; None where that is singular."""
        if ridge not in self._factors:
            left = self.inner + torch.diag_embed(self._penalty * ridge)
            factor, failed = torch.linalg.cholesky_ex(left)
            self._factors[ridge] = None if bool(failed.any()) else factor
        factor = self._factors[ridge]
        return None if factor is None else torch.cholesky_solve(cross.mT, factor).mT


class Sums:
    """What the error of any delta on some rows follows from.

    Args:
        gram: of the features of all rows that are added.
    """

    def __init__(self, gram: Gram) -> None:
        self.gram = gram
        self.cross = torch.zeros(0)
        self._square = self._wanted = 0.0
        self._total = torch.zeros(0)
        self._count = 0

    def add(self, x: Tensor, residual: Tensor, wanted: Tensor) -> None:
        """Add rows: x (s, n, k), residual (s, n, o) and wanted (s, n, o)."""
        cross, total = (residual.mT @ x).double(), wanted.sum(-2).double()
        self.cross, self._total = (cross, total) if not self._count else (self.cross + cross, self._total + total)
        self._square += float(torch.linalg.vector_norm(residual)) ** 2
        self._wanted += float(torch.linalg.vector_norm(wanted)) ** 2
        self._count += x.shape[-2]

    def error(self, delta: Tensor | None = None) -> float:
        """Return ``|residual - x delta^T|^2`` relative to the variance of what is wanted."""
        square = self._square
        if delta is not None:
            square += float(((delta @ self.gram.inner - 2 * self.cross) * delta).sum())
        variance = self._wanted - float(self._total.square().sum()) / max(self._count, 1)
        return max(square, 0.0) / max(variance, 1e-30)


def regress(fitted: Sums, held_out: Sums, grid: Sequence[float] = GRID) -> Fit:
    """Find the delta that removes most of the residual on the held-out rows.

    ``min |residual - x delta^T|^2 + ridge |delta|^2`` is solved for each penalty of `grid`, the strongest first, until
    the held-out rows get worse; of no delta and all of these, the best one there is taken.

    Args:
        fitted: sums over the rows to fit.
        held_out: sums over others.
        grid: penalties, relative to the mean square of a feature.
    """
    least, chosen, best = held_out.error(), None, None
    for ridge in grid:
        delta = fitted.gram.solve(ridge, fitted.cross)
        error = float("inf") if delta is None else held_out.error(delta)
        if not error < least:
            break
        least, chosen, best = error, ridge, delta
    return Fit(
        delta=torch.zeros_like(fitted.cross) if best is None else best,
        ridge=chosen,
        fitted=(fitted.error(), fitted.error(best)),
        held_out=(held_out.error(), least),
    )


def _summed(parts: Iterable[Tensor]) -> Tensor:
    """Add up in float64 what each part computed in its own precision."""
    total: Tensor | None = None
    for part in parts:
        total = part.double() if total is None else total.add_(part)
    assert total is not None, "there is always a part"
    return total
