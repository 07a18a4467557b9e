"""The metrics against their definitions, and what they must not see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxprune.evaluation.metrics import METRICS, accuracy, f1, matthews, pearson, scores_of, spearman

CLASSES = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=40)
NUMBERS = st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=3, max_size=40)


def sides(pairs):
    left, right = np.array(pairs, dtype=np.float64).T
    return left, right


@settings(deadline=None)
@given(CLASSES)
def test_class_metrics_are_their_formulas(pairs):
    true, said = (side.astype(int) for side in sides(pairs))
    tp, tn = int((true & said).sum()), int(((1 - true) & (1 - said)).sum())
    fp, fn = int(((1 - true) & said).sum()), int((true & (1 - said)).sum())
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    assert accuracy(true, said) == pytest.approx((tp + tn) / len(true))
    assert f1(true, said) == pytest.approx(2 * tp / (2 * tp + fp + fn) if tp else 0.0)
    assert matthews(true, said) == pytest.approx((tp * tn - fp * fn) / product**0.5 if product else 0.0)


@settings(deadline=None)
@given(NUMBERS)
def test_correlations_do_not_see_scale_and_spearman_not_even_shape(pairs):
    left, right = sides(pairs)
    assert pearson(left, right) == pytest.approx(pearson(right, 3 * left - 7), abs=1e-6)
    assert spearman(left, right) == pytest.approx(spearman(left, (right / 50) ** 3), abs=1e-6)
    assert pearson(left, -right) == pytest.approx(-pearson(left, right), abs=1e-6)


def test_a_line_correlates_fully_and_a_bent_one_in_rank_only():
    line = np.arange(1.0, 9.0)
    assert pearson(line, 2 * line + 1) == pytest.approx(1)
    assert spearman(line, np.exp(line)) == pytest.approx(1)
    assert pearson(line, np.exp(line)) < 0.9


@pytest.mark.parametrize("metric", [pearson, spearman])
def test_a_constant_prediction_correlates_with_nothing(metric):
    line = np.arange(5.0)
    assert metric(line, np.full(5, 0.3)) == 0
    assert metric(line, 0.3 + np.array([0, 1, 2, 3, 4]) * 1e-9) == 0  # noise of float32
    assert metric(np.ones(1), np.ones(1)) == 0
    assert metric(line, line * 1e-9) == pytest.approx(1)  # small, and not noise


def test_scores_come_by_name():
    right = np.array([0, 1, 1])
    assert scores_of(("f1", "accuracy"), right, right) == {"f1": 1.0, "accuracy": 1.0}
    assert set(METRICS) == {"accuracy", "f1", "matthews", "pearson", "spearman"}
