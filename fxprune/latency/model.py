"""A latency model: the time of each class of work, fitted to files that were timed on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from fxprune.latency.space import Space
from fxprune.latency.work import Work

_FORGET = 0.5  # how far away, in the logarithm of a time, a file says half as much about a time as one that is near


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """Predicts milliseconds from widths; wider never takes less time.

    Attributes:
        space: the widths there are.
        work: amounts of each class.
        prices: (classes,) milliseconds for each unit of work, not negative.
        factor: what whole files were found to take of what is predicted.
    """

    space: Space
    work: Work
    prices: np.ndarray
    factor: float = 1.0

    @classmethod
    def fitted(
        cls, space: Space, work: Work, timed: Mapping[tuple[int, ...], float], near: float | None = None
    ) -> LatencyModel:
        """Fit the prices: least squares of relative errors.

        Args:
            space, work: of the model.
            timed: widths -> milliseconds.
            near: the time the model shall be best at; None: all the same.
        """
        amounts = np.concatenate([work.amounts(space.counts(widths)) for widths in timed])
        times = np.array(list(timed.values()))
        weights = 1 / times
        if near is not None:
            weights = weights / (1 + (np.log(times / near) / _FORGET) ** 2)
        scale = amounts.max(axis=0)
        scale[scale == 0] = 1.0
        rows = amounts / scale * weights[:, None]
        prices, _ = nnls(rows, times * weights)
        return cls(space, work, prices / scale)

    def predict(self, counts: Mapping[str, int | np.ndarray], candidates: int = 1) -> np.ndarray:
        """Return (candidates,) milliseconds."""
        found: np.ndarray = self.work.amounts(counts, candidates) @ self.prices * self.factor
        return found

    def of(self, widths: Sequence[int]) -> float:
        """Return the milliseconds of one choice of widths."""
        return float(self.predict(self.space.counts(widths))[0])

    def scaled(self, factor: float) -> LatencyModel:
        """Return the same, with all times `factor` times as long."""
        return replace(self, factor=self.factor * factor)

    def shares(self, widths: Sequence[int]) -> dict[str, float]:
        """Return the milliseconds of each class of work."""
        parts = self.work.amounts(self.space.counts(widths))[0] * self.prices * self.factor
        names = [*self.work.classes, *self.work.padded, "the rest"]
        return {name: float(part) for name, part in zip(names, parts, strict=True)}
