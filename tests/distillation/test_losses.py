"""Every transfer loss is 0 for equal features, relative to the teacher's variance, and blind to what is masked."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from fxprune.distillation.losses import (
    IGNORED,
    attention_loss,
    feature_loss,
    kl_loss,
    seen_by,
    seen_in,
    similarity_loss,
    task_loss,
)

B, H, S, K = 3, 4, 5, 5


def scores() -> Tensor:
    return torch.randn(B, H, S, K)


# ---------------------------------------------------------------------- predictions


def test_the_task_loss_is_the_cross_entropy_of_labelled_positions() -> None:
    logits, labels = torch.randn(6, 9), torch.tensor([1, 2, IGNORED, 3, IGNORED, 8])
    chosen = labels != IGNORED
    torch.testing.assert_close(task_loss(logits, labels), F.cross_entropy(logits[chosen], labels[chosen]))


def test_kl_is_zero_for_equal_logits_and_the_formula_otherwise() -> None:
    student, teacher = torch.randn(6, 9), torch.randn(6, 9)
    assert float(kl_loss(teacher, teacher)) == 0
    p, q = teacher.softmax(-1), student.softmax(-1)
    torch.testing.assert_close(kl_loss(student, teacher), (p * (p / q).log()).sum(-1).mean())
    torch.testing.assert_close(kl_loss(student + 3, teacher - 5), kl_loss(student, teacher))


def test_a_batch_without_labels_costs_nothing() -> None:
    """A short batch may happen to have no masked token."""
    logits = torch.randn(4, 9, requires_grad=True)
    none = torch.zeros(4, dtype=torch.bool)
    for value in (
        task_loss(logits, torch.full((4,), IGNORED)),
        task_loss(logits[none], torch.empty(0, dtype=torch.int64)),
        kl_loss(logits[none], torch.randn(0, 9)),
    ):
        assert float(value.detach()) == 0
        value.backward()


# ---------------------------------------------------------------------- features


def test_the_feature_loss_is_relative_to_the_variance() -> None:
    teacher = torch.randn(4, 7, 8) * 5 + 100
    assert float(feature_loss(teacher, teacher)) == 0
    mean = teacher.flatten(0, 1).mean(0).expand_as(teacher)
    assert float(feature_loss(mean, teacher)) == pytest.approx(1.0, rel=1e-4)
    torch.testing.assert_close(feature_loss(teacher * 3 + 1, teacher * 3), feature_loss(teacher + 1 / 3, teacher))


def test_one_feature_vector_is_measured_against_itself() -> None:
    assert float(feature_loss(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 3.0]]))) == pytest.approx(2 / 5)


def test_the_similarity_loss_sees_angles_between_sequences_only() -> None:
    teacher = torch.randn(6, 8)
    assert float(similarity_loss(teacher, teacher)) == 0
    turn = torch.linalg.qr(torch.randn(8, 8)).Q
    assert float(similarity_loss(teacher @ turn * 7, teacher)) == pytest.approx(0, abs=1e-9)  # no map is needed
    wider = torch.cat([teacher, torch.zeros(6, 5)], 1)
    assert float(similarity_loss(wider, teacher)) == pytest.approx(0, abs=1e-9)
    assert float(similarity_loss(torch.randn(6, 8), teacher)) > 0.1


@pytest.mark.parametrize("rows", [1, 2])
def test_one_pair_of_sequences_has_no_variance(rows: int) -> None:
    student = torch.randn(rows, 8, requires_grad=True)
    value = similarity_loss(student, torch.randn(rows, 8))
    assert float(value.detach()) == 0
    value.backward()


# ---------------------------------------------------------------------- attention


def test_equal_attention_costs_nothing_and_none_at_all_costs_one() -> None:
    teacher = scores()
    assert float(attention_loss(teacher, teacher, None)) == 0
    assert float(attention_loss(torch.zeros(B, H, S, K), teacher, None)) == pytest.approx(1)


def test_what_a_softmax_does_not_see_costs_nothing() -> None:
    teacher = scores()
    assert float(attention_loss(teacher + torch.randn(B, H, S, 1), teacher, None)) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("there", [99.0, float("-inf"), torch.finfo(torch.float32).min])
def test_masked_positions_cost_nothing(there: float) -> None:
    teacher, seen = scores(), torch.ones(B, 1, 1, K, dtype=torch.bool)
    seen[0, ..., 3:] = False
    other = teacher.masked_fill(~seen, there)
    assert float(attention_loss(other, teacher, seen)) == 0
    if there == 99.0:
        assert float(attention_loss(other, teacher, None)) > 1


def test_rows_that_see_nothing_are_no_nan() -> None:
    seen = torch.ones(B, 1, S, K, dtype=torch.bool)
    seen[0, :, 2] = False
    assert float(attention_loss(scores(), scores(), seen)) > 0


def test_the_loss_is_the_relative_error_of_centred_scores() -> None:
    student, teacher = scores(), scores()
    got, wanted = (one - one.mean(-1, keepdim=True) for one in (student, teacher))
    expected = (got - wanted).square().sum() / wanted.square().sum()
    torch.testing.assert_close(attention_loss(student, teacher, None), expected)


@pytest.mark.parametrize("floor", [-1e4, -1e30, torch.finfo(torch.float32).min, float("-inf")])
def test_scores_that_hold_their_mask_say_what_is_seen(floor: float) -> None:
    expected = torch.rand(B, 1, S, K) > 0.4
    expected[..., 0] = True
    held = 10 * scores() + torch.zeros(B, 1, S, K).masked_fill(~expected, floor)
    seen = seen_in(held)
    assert seen is not None
    assert torch.equal(seen, expected.expand(B, H, S, K))
    assert torch.equal(held.softmax(-1) > 0, seen)
    assert seen_in(10 * scores()) is None


@pytest.mark.parametrize("kind", ["bool", "additive", "minus infinity"])
def test_masks_of_any_kind_say_what_is_seen(kind: str) -> None:
    expected = torch.rand(B, 1, S, K) > 0.4
    floor = torch.finfo(torch.float32).min if kind == "additive" else float("-inf")
    mask = expected if kind == "bool" else torch.zeros(B, 1, S, K).masked_fill(~expected, floor)
    seen = seen_by(mask, False, scores())
    assert seen is not None
    assert torch.equal(seen, expected)


def test_a_position_bias_hides_nothing() -> None:
    assert seen_by(torch.randn(1, H, S, K) * 10, False, scores()) is None


def test_causal_order_hides_the_future() -> None:
    seen = seen_by(None, True, scores())
    assert seen is not None
    assert seen.tolist() == [[k <= q for k in range(K)] for q in range(S)]
    mask = torch.ones(B, 1, 1, K, dtype=torch.bool)
    mask[1, ..., 0] = False
    both = seen_by(mask, True, scores())
    assert both is not None
    assert not both[1, 0, :, 0].any()
    assert torch.equal(both[0, 0], seen)


def test_a_mask_that_hides_nothing_is_none() -> None:
    assert seen_by(None, False, scores()) is None
    assert seen_by(torch.ones(B, 1, 1, K, dtype=torch.bool), False, scores()) is None
