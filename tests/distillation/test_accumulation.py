"""Parts of a batch, and what is compared across them, add up to the whole batch exactly."""

from __future__ import annotations

import math

import pytest
import torch
from distilling import batches, distiller, trained
from torch import Tensor

from fxprune.distillation.accumulation import check_finite, gradient_norm
from fxprune.distillation.batch import Batch, parts_of_one
from fxprune.distillation.config import ScheduleConfig
from fxprune.distillation.likeness import Peers, likeness
from fxprune.distillation.losses import similarity_loss
from fxprune.errors import DistillError

EVERY_THIRD = ScheduleConfig(start=0.1, end=0.9, interval=3)


@pytest.mark.parametrize("name", ["bert", "encoder", "gpt2"])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_run_in_parts_is_the_run_at_once(name: str, rows: int) -> None:
    """Masked rows have different numbers of labels, and features are compared across parts."""
    whole, expected, cuts = trained(name, 12, schedule=EVERY_THIRD)
    found, history, same = trained(name, 12, schedule=EVERY_THIRD, micro_batch=rows)
    assert same == cuts
    assert len(cuts) >= 2
    for got, wanted in zip(history, expected, strict=True):
        assert got == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    assert found.student.plan == whole.student.plan


def test_a_probe_in_parts_is_the_probe_of_the_whole() -> None:
    gradients = []
    for rows in (None, 1):
        found = distiller("encoder", micro_batch=rows)
        found.accumulate(next(batches(found, "encoder")), probe=3)
        gradients.append([p.grad for p in found.student.traced.parameters() if p.grad is not None])
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)
    assert gradient_norm(found.student.traced.parameters(), 1) > 0


def test_similar_sequences_are_all_pairs_of_the_batch() -> None:
    student, teacher = torch.randn(7, 5, requires_grad=True), torch.randn(7, 6)
    wanted = similarity_loss(student, teacher)
    (expected,) = torch.autograd.grad(wanted, student)
    ids = torch.zeros(7, 3, dtype=torch.int64)
    peers, total, grad = Peers((student.detach(),), (teacher,)), 0.0, torch.zeros(7, 5)
    for part in Batch({"input_ids": ids}, None).parts(3):
        rows = slice(part.first, part.first + part.rows)
        own = student.detach()[rows].requires_grad_()
        value = likeness((own,), (teacher[rows],), part, peers)
        (grad[rows],) = torch.autograd.grad(value, own)
        total += float(value.detach())
    assert total == pytest.approx(float(wanted.detach()), rel=1e-5)
    torch.testing.assert_close(grad, expected)


def test_a_part_without_a_label_costs_nothing_and_is_still_counted() -> None:
    found = distiller("bert")
    batch = next(batches(found))
    labels = batch.labels.clone()  # type: ignore[union-attr]
    labels[:2] = -100
    batch = Batch(batch.inputs, labels)
    whole = found.accumulate(batch)
    found.micro.given = 2
    assert found.accumulate(batch) == pytest.approx(whole, rel=1e-5)


def test_several_batches_are_measured_as_one() -> None:
    found, _, _ = trained("bert", 6)
    stream = batches(found, seed=3)
    first, second = next(stream), next(stream)
    joined = Batch(
        {name: torch.cat([first.inputs[name], second.inputs[name]]) for name in first.inputs},
        torch.cat([first.labels, second.labels]),  # type: ignore[list-item]
    )
    assert parts_of_one([first, second])[0].whole == joined.whole
    apart, together = found.evaluate([first, second]), found.evaluate([joined])
    assert apart["student"] == pytest.approx(together["student"], rel=1e-5)


def test_terms_are_relative_to_what_was_measured_before_the_first_step() -> None:
    found = distiller("encoder")
    stream = batches(found, "encoder")
    found.step(next(stream))
    scales = found.terms.scales
    assert scales is not None
    assert set(scales.variances) == set(found.terms.maps)
    assert all(power.shape == (4,) and (power > 0).all() for power in scales.powers.values())
    found.step(next(stream))
    assert found.terms.scales is scales


# ---------------------------------------------------------------------- what is no number


def losses(**terms: float) -> dict[str, float]:
    return {"total": sum(terms.values()), **terms}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_term_that_is_no_number_is_named(value: float) -> None:
    check_finite(losses(task=1.0, kl=2.0), 3)
    with pytest.raises(DistillError, match=rf"the kl loss is {value} at step 3"):
        check_finite(losses(task=1.0, kl=value, hidden=0.0), 3)


def test_a_gradient_that_is_no_number_is_told() -> None:
    weight: Tensor = torch.zeros(3, requires_grad=True)
    weight.grad = torch.tensor([1.0, math.inf, 0.0])
    with pytest.raises(DistillError, match=r"the gradient is inf at step 4\n.*lower --learning-rate"):
        gradient_norm([weight], 4)
