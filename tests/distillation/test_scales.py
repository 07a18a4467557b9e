"""What transfer losses are relative to, in one batch or many."""

from __future__ import annotations

import pytest
import torch

from fxprune.distillation.losses import attention_loss, centred_scores, feature_loss
from fxprune.distillation.scales import ScaleSums


def test_features_are_relative_to_their_variance() -> None:
    teacher, sums = torch.randn(6, 7, 8) * 3 + 5, ScaleSums()
    for part in teacher.split(2):
        sums.add_features("tap", part)
    variance = sums.result().variances["tap"]
    flat = teacher.flatten(0, 1)
    torch.testing.assert_close(variance, flat.var(0, correction=0).mean())
    student = torch.randn(6, 7, 8)
    torch.testing.assert_close(feature_loss(student, teacher, variance), feature_loss(student, teacher))


def test_one_vector_and_equal_vectors_are_relative_to_their_size() -> None:
    for rows, expected in [(1, 4.0), (5, 0.04)]:
        sums = ScaleSums()
        sums.add_features("tap", torch.full((rows, 8), 2.0))
        assert float(sums.result().variances["tap"]) == pytest.approx(expected)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_relative_to_its_heads(masked: bool) -> None:
    """With as many keys in each sequence, the error of all is the mean of the errors of each."""
    teacher, student = torch.randn(2, 6, 4, 5, 5).unbind()
    seen = torch.ones(5, 5, dtype=torch.bool).tril() if masked else None
    sums = ScaleSums()
    for rows in (slice(2), slice(2, None)):
        sums.add_scores("tap", centred_scores(teacher[rows], seen), seen)
    powers = sums.result().powers["tap"]
    whole = attention_loss(student, teacher, seen, powers)
    torch.testing.assert_close(whole, attention_loss(student, teacher, seen))
    parts = [
        attention_loss(student[r], teacher[r], seen, powers) * share
        for r, share in [(slice(2), 2 / 6), (slice(2, None), 4 / 6)]
    ]
    torch.testing.assert_close(sum(parts), whole)
