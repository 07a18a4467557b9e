"""Official metrics of the sentence tasks, from scikit-learn and scipy; all at most 1, higher is better."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]


def accuracy(labels: Values, predicted: Values) -> float:
    """Return the share of rows with the right class."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(labels, predicted))


def f1(labels: Values, predicted: Values) -> float:
    """Return the harmonic mean of precision and recall of class 1; 0 where that class was never found."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predicted, zero_division=0.0))


def matthews(labels: Values, predicted: Values) -> float:
    """Return Matthews' correlation; 0 where one side is constant."""
    from sklearn.metrics import matthews_corrcoef

    return 0.0 if _constant(labels, predicted) else float(matthews_corrcoef(labels, predicted))


def pearson(labels: Values, predicted: Values) -> float:
    """Return the linear correlation; 0 where one side is constant."""
    from scipy.stats import pearsonr

    return 0.0 if _constant(labels, predicted) else float(pearsonr(labels, predicted).statistic)


def spearman(labels: Values, predicted: Values) -> float:
    """Return the rank correlation; 0 where one side is constant.

    >>> round(spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 40.0])), 6)
    1.0
    """
    from scipy.stats import spearmanr

    return 0.0 if _constant(labels, predicted) else float(spearmanr(labels, predicted).statistic)


METRICS: dict[str, Callable[[Values, Values], float]] = {
    metric.__name__: metric for metric in (accuracy, f1, matthews, pearson, spearman)
}


def scores_of(names: Iterable[str], labels: Values, predicted: Values) -> dict[str, float]:
    """Return the metrics called `names`.

    Args:
        names: keys of `METRICS`.
        labels: (rows,) classes, or real numbers.
        predicted: same shape.
    """
    return {name: METRICS[name](labels, predicted) for name in names}


def _constant(*sides: Values) -> bool:
    """Whether a side has less spread than float32 has digits: its correlation would be noise."""
    return any(len(side) < 2 or np.ptp(side) <= 1e-6 * max(1e-30, float(np.abs(side).max())) for side in sides)
