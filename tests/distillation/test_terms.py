"""What the terms of the loss are, term by term and on held-out text."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from distilling import ROWS, batches, distiller, parameters, terms, trained

from fxprune.axes import resolve
from fxprune.distillation.config import LossWeights, ScheduleConfig
from fxprune.distillation.losses import IGNORED
from fxprune.distillation.objective import Batch
from fxprune.errors import UsageError
from fxprune.importance import magnitude
from fxprune.unit_scores import UnitScorer


@pytest.mark.parametrize(
    "name", ["bert", "modernbert", "electra", "gpt2", "llama_gqa", "encoder", "bloom", "deberta-v2"]
)
def test_every_transfer_loss_of_an_uncut_student_is_exactly_zero(name: str) -> None:
    found = distiller(name)
    values = terms(found, next(batches(found, name)))
    language = [] if name == "encoder" else ["kl"]
    assert set(values) == {"task", "hidden", "embedding", "attention", *language}
    assert {values[term] for term in ("hidden", "embedding", "attention", *language)} == {0.0}
    assert (values["task"] > 1) == (name != "encoder")


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama_gqa", "megatron-bert"])
def test_heads_are_compared_with_the_heads_they_were(name: str) -> None:
    """Nothing before the last attention is cut, so the scores of the heads that stay are what they were."""
    found = distiller(name, loss=LossWeights(task=0, kl=0, hidden=0, embedding=0))
    last = found.terms.taps.attention[-1]
    groups = {group.name: group for group in found.student.groups if group.factor in resolve(last.heads)}
    assert len(groups) == (2 if name == "llama_gqa" else 1)  # key heads, and queries a key
    scores = UnitScorer(found.student.groups)(found.student.traced, magnitude)
    for _ in range(2):  # twice, so that dense places are looked up
        found.student.cut_to({key: max(1, group.size - 1) for key, group in groups.items()}, scores)
        scores = UnitScorer(found.student.groups)(found.student.traced, magnitude)
    places = found.terms._lineage(last.heads)
    assert len(set(places.tolist())) == len(places) == 2
    batch = next(batches(found, name))
    assert terms(found, batch) == {"attention": pytest.approx(0, abs=1e-12)}
    wrong = places.flip(0)
    found.terms._lineage = lambda axis: wrong if axis is last.heads else torch.arange(8 if name[0] == "l" else 4)  # type: ignore[method-assign]
    assert terms(found, batch)["attention"] > 0.1


def test_the_total_is_the_weighted_sum() -> None:
    weights = LossWeights(task=2.0, kl=0.5, hidden=0.1, embedding=0.0, attention=3.0)
    _, history, _ = trained("bert", 6, loss=weights)
    for losses in history:
        assert "embedding" not in losses
        expected = sum(getattr(weights, term) * value for term, value in losses.items() if term != "total")
        assert losses["total"] == pytest.approx(expected, rel=1e-5)


def test_a_model_all_weighted_terms_are_missing_of_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no loss term is left for this model\n.*features has task, hidden, embed"):
        distiller("encoder", loss=LossWeights(task=0, kl=1, hidden=0, embedding=0, attention=0))


def test_the_student_drops_out_only_if_asked() -> None:
    for dropout in (False, True):
        found = distiller("bert", dropout=dropout)
        batch = next(batches(found))
        first, second = (terms(found, batch)["hidden"] for _ in range(2))
        assert (first == second) != dropout
        measured = [found.evaluate([batch])["student"] for _ in range(2)]
        assert measured[0] == measured[1]
        assert measured[0]["hidden"] == 0


def test_evaluation_weighs_batches_by_what_they_hold() -> None:
    found, _, _ = trained("bert", 6)
    stream = batches(found, seed=5)
    whole, other = next(stream), next(stream)
    part = Batch({name: tensor[:1] for name, tensor in other.inputs.items()}, other.labels[:1])  # type: ignore[index]
    measured = found.evaluate([whole, part])
    alone = [found.evaluate([batch]) for batch in (whole, part)]
    for who in ("teacher", "student"):
        labelled = [batch.whole.labelled for batch in (whole, part)]
        expected = sum(each[who]["task"] * n for each, n in zip(alone, labelled, strict=True)) / sum(labelled)
        assert measured[who]["task"] == pytest.approx(expected, rel=1e-5)
    expected = (alone[0]["student"]["hidden"] * ROWS + alone[1]["student"]["hidden"]) / (ROWS + 1)
    assert measured["student"]["hidden"] == pytest.approx(expected, rel=1e-5)
    assert set(measured["teacher"]) == {"task"}
    assert set(measured["student"]) == {"task", "kl", "hidden", "embedding", "attention"}


def padded(batch: Batch, by: int = 3) -> Batch:
    """The batch with padding at the end of each row, and real of nothing else."""
    real = {
        name: F.pad(torch.ones_like(tensor, dtype=torch.bool), (0, by))
        for name, tensor in batch.inputs.items()
        if name.endswith("input_ids")
    }
    labels = None if batch.labels is None else F.pad(batch.labels, (0, by), value=IGNORED)
    return Batch({name: F.pad(tensor, (0, by)) for name, tensor in batch.inputs.items()}, labels, real=real)


@pytest.mark.parametrize("name", ["bert", "t5", "encoder"])
def test_padding_costs_nothing(name: str) -> None:
    found, _, _ = trained(name, 6)
    batch = next(batches(found, name, seed=4))
    assert terms(found, padded(batch)) == pytest.approx(terms(found, batch), rel=1e-4, abs=1e-6)
    unknown = replace(padded(batch), real={})
    assert terms(found, unknown) != pytest.approx(terms(found, batch), rel=1e-2)


def test_parts_of_a_padded_batch_add_up_to_it() -> None:
    """Rows of different lengths: what a row counts is its tokens."""
    found, _, _ = trained("bert", 6)
    batch = padded(next(batches(found, seed=4)))
    real = batch.real["input_ids"].clone()
    real[0, 4:] = False
    assert batch.labels is not None
    labels = batch.labels.masked_fill(~real, IGNORED)
    batch = Batch({**batch.inputs, "attention_mask": real.long()}, labels, real={"input_ids": real})
    sums: dict[str, float] = {}
    for part in batch.parts(1):
        for term, value in terms(found, part).items():
            sums[term] = sums.get(term, 0.0) + value
    assert sums == pytest.approx(terms(found, batch), rel=1e-4)


def test_evaluation_changes_no_weight() -> None:
    found, _, _ = trained("bert", 6)
    before = parameters(found)
    found.evaluate([next(batches(found))])
    assert all(torch.equal(value, before[name]) for name, value in parameters(found).items())


def test_training_helps() -> None:
    found, _, _ = trained("bert", 60, learning_rate=1e-2, schedule=ScheduleConfig(kind="one-shot"))
    idle, _, _ = trained("bert", 60, learning_rate=1e-9, schedule=ScheduleConfig(kind="one-shot"))
    stream = batches(found, seed=9)
    held_out = [next(stream) for _ in range(4)]
    better, worse = found.evaluate(held_out)["student"], idle.evaluate(held_out)["student"]
    assert better["task"] < worse["task"] - 0.5
    assert better["hidden"] < worse["hidden"]
