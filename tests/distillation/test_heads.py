"""Losses in chunks are the losses in one piece, and so are their gradients."""

from __future__ import annotations

import pytest
import torch
from distilling import batches, distiller, traced, trained
from torch import Tensor, nn

from fxprune.distillation import heads
from fxprune.distillation.config import LossWeights
from fxprune.distillation.heads import Head, Predictions
from fxprune.distillation.losses import kl_loss, task_loss

N, WORDS, WIDTH, WIDER = 23, 57, 8, 12


@pytest.fixture(params=[1, 5, N, 1000])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many positions at a time."""
    monkeypatch.setattr(heads, "CHUNK", request.param * WORDS)


def linear(width: int) -> tuple[Head, nn.Parameter, nn.Parameter]:
    weight, bias = nn.Parameter(torch.randn(WORDS, width).double()), nn.Parameter(torch.randn(WORDS).double())
    return Head(lambda rows: torch.nn.functional.linear(rows, weight, bias), (weight, bias)), weight, bias


def case() -> tuple[Predictions, Tensor]:
    rows = torch.randn(N, WIDTH).double().requires_grad_()
    teacher = linear(WIDER)[0], torch.randn(N, WIDER).double()
    labels = torch.randint(WORDS, (N,))
    return Predictions(head=linear(WIDTH)[0], labels_n=labels, teacher=teacher, words=WORDS), rows


def in_one_piece(what: Predictions, rows: Tensor) -> tuple[Tensor, Tensor]:
    assert what.teacher is not None
    got = what.head.apply(rows)
    wanted = what.teacher[0].apply(what.teacher[1]).detach()
    return task_loss(got.float(), what.labels_n), kl_loss(got.float(), wanted.float())


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize(("task", "kl"), [(1.0, 1.0), (0.5, 2.0), (1.0, 0.0), (0.0, 1.0)])
def test_losses_and_gradients_are_those_of_one_piece(task: float, kl: float) -> None:
    what, rows = case()
    inputs = (rows, *what.head.weights)
    expected = in_one_piece(what, rows)
    wanted = torch.autograd.grad(3 * (task * expected[0] + kl * expected[1]), inputs)
    found = what.losses(rows, task=task, kl=kl)
    got = torch.autograd.grad(3 * (task * found[0] + kl * found[1]), inputs)
    for value, other in zip((*found, *got), (*expected, *wanted), strict=True):
        torch.testing.assert_close(value.double(), other.double(), rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("chunk")
def test_another_sum_than_the_announced_one_has_its_own_gradient() -> None:
    what, rows = case()
    (wanted,) = torch.autograd.grad(in_one_piece(what, rows)[1], rows)
    (got,) = torch.autograd.grad(what.losses(rows, task=1.0, kl=1.0)[1], rows)
    torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("chunk")
def test_equal_predictions_have_no_kl_and_no_gradient() -> None:
    what, rows = case()
    same = Predictions(head=what.head, labels_n=what.labels_n, teacher=(what.head, rows.detach()), words=WORDS)
    _, kl = same.losses(rows, task=0.0, kl=1.0)
    assert float(kl.detach()) == 0
    assert not torch.autograd.grad(kl, rows)[0].any()


def test_a_batch_without_labels_costs_nothing() -> None:
    what, rows = case()
    assert what.teacher is not None
    none = Predictions(
        head=what.head, labels_n=what.labels_n[:0], teacher=(what.teacher[0], what.teacher[1][:0]), words=WORDS
    )
    task, kl = none.losses(rows[:0])
    assert (float(task.detach()), float(kl.detach())) == (0, 0)
    (task + kl).backward()
    assert not what.head.weights[0].grad.any()  # type: ignore[union-attr]


def test_given_logits_need_no_head() -> None:
    what, _ = case()
    logits, wanted = torch.randn(N, WORDS, requires_grad=True), torch.randn(N, WORDS)
    plain = Predictions(head=Head(), labels_n=what.labels_n, teacher=(Head(), wanted), words=WORDS)
    task, kl = plain.losses(logits)
    expected = task_loss(logits, what.labels_n), kl_loss(logits, wanted)
    torch.testing.assert_close((task, kl), expected)
    torch.testing.assert_close(
        torch.autograd.grad(task + kl, logits), torch.autograd.grad(expected[0] + expected[1], logits)
    )


def test_no_more_logits_live_than_a_chunk_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "CHUNK", 5 * WORDS)
    what, rows = case()
    seen: list[int] = []
    apply = what.head.apply
    watched = Head(lambda part: (seen.append(len(part)), apply(part))[1], what.head.weights)
    Predictions(head=watched, labels_n=what.labels_n, teacher=what.teacher, words=WORDS).losses(rows)
    assert seen == [5, 5, 5, 5, 3]


@pytest.mark.parametrize("name", ["bert", "llama_gqa"])
def test_a_run_in_chunks_is_the_run_in_one_piece(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through cuts, with tied and with free heads."""
    _, whole, cuts = trained(name, 8)
    monkeypatch.setattr(heads, "CHUNK", 99 * 3)
    _, parts, _ = trained(name, 8)
    assert cuts
    for one, other in zip(whole, parts, strict=True):
        assert other == pytest.approx(one, rel=1e-4, abs=1e-6)


def test_gradients_of_a_whole_model_are_those_of_whole_logits() -> None:
    found = distiller("gpt2", loss=LossWeights(hidden=0, embedding=0, attention=0, kl=0))
    batch = next(batches(found, "gpt2"))
    run = found.terms.run(found.student.traced, batch)
    found.terms(run, run, batch)["task"].backward()
    plain = traced("gpt2")
    assert batch.labels is not None
    task_loss(plain(**batch.inputs).logits.flatten(0, 1), batch.labels.flatten()).backward()
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(found.student.traced.get_parameter(name).grad, parameter.grad, rtol=1e-5, atol=1e-6)
