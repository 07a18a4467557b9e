"""Single steps of distillation: scores, cuts, and all that follows a cut."""

from __future__ import annotations

import pytest
import torch
from distilling import batches, distiller, parameters, traced, trained
from torch import nn

from fxprune.distillation.config import LossWeights, ScheduleConfig
from fxprune.distillation.objective import Batch
from fxprune.errors import DistillError

# ---------------------------------------------------------------------- an uncut student


@pytest.mark.parametrize("name", ["encoder", "bert", "llama"])
def test_a_student_that_equals_its_teacher_has_scores_that_differ(name: str) -> None:
    """Features alone have no gradient there: a random projection of them stands in until the first cut."""
    found = distiller(name)
    found.step(next(batches(found, name)))
    assert found.cutter.scores.value.keys() == {group.name for group in found.student.groups.prunable}
    for group, scores in found.cutter.scores.value.items():
        assert torch.isfinite(scores).all()
        assert float(scores.max()) > float(scores.min()), group


def test_features_are_not_trained_before_the_first_cut() -> None:
    found = distiller("encoder", schedule=ScheduleConfig(kind="one-shot", start=0.3, end=0.9))
    before = parameters(found)
    stream = batches(found)
    for _ in range(2):
        found.step(next(stream))
    assert all(torch.equal(value, before[name]) for name, value in parameters(found).items())
    found.step(next(stream))
    cut = parameters(found)
    assert any(value.shape != before[name].shape for name, value in cut.items())
    found.step(next(stream))
    assert not all(torch.equal(value, cut[name]) for name, value in parameters(found).items())


# ---------------------------------------------------------------------- cuts


def test_the_student_ends_at_the_planned_counts() -> None:
    found, _, cuts = trained("bert")
    assert {name: found.student.groups[name].size for name in found.cutter.final} == found.cutter.final
    dense = found.teacher.num_parameters()
    assert 0.99 * 0.4 * dense <= found.student.traced.num_parameters() <= 0.4 * dense
    assert cuts[-1] == 5  # half of the steps
    assert found.student.plan.sizes().items() >= found.cutter.final.items()


def test_everything_follows_the_cuts() -> None:
    found, _, _ = trained("bert")
    held = dict(found.student.traced.named_parameters())
    in_groups = [parameter for group in found.optimizer.param_groups for parameter in group["params"]]
    assert set(map(id, in_groups)) == set(map(id, held.values()))
    assert set(map(id, found.optimizer.state)) <= set(map(id, held.values()))
    for parameter, state in found.optimizer.state.items():
        assert state["exp_avg"].shape == state["exp_avg_sq"].shape == parameter.shape
        assert int(state["step"]) == 10
    for group in found.student.groups.prunable:
        assert found.cutter.scores.value[group.name].shape[-1] == group.size
    width = found.student.groups["hidden"].size
    assert {tuple(found.terms.maps[node].weight.shape) for node in found.terms.maps} == {(32, width)}
    assert not any(parameter.requires_grad for parameter in found.teacher.parameters())


def test_the_teacher_is_never_trained() -> None:
    found, _, _ = trained("bert")
    assert all(
        torch.equal(value, traced("bert").state_dict()[key]) for key, value in found.teacher.state_dict().items()
    )


def test_a_linear_schedule_cuts_as_much_each_time() -> None:
    found, _, cuts = trained("bert", 12, schedule=ScheduleConfig(kind="linear", start=0.1, end=0.9, interval=2))
    assert len(cuts) == 5
    assert {name: found.student.groups[name].size for name in found.cutter.final} == found.cutter.final


@pytest.mark.parametrize("interval", [5, 1])
def test_cuts_come_at_intervals_and_at_the_end(interval: int) -> None:
    schedule = ScheduleConfig(start=0.2, end=0.8, interval=interval)
    found = distiller("bert", max_steps=20, schedule=schedule)
    due = [step for step in range(1, 21) if found.cutter.due(step)]
    assert due == ([4, 9, 14, 16] if interval == 5 else [*range(4, 17)])
    found, _, cuts = trained("bert", 20, schedule=schedule)
    assert set(cuts) < set(due)  # at the start all is left, and near the end less than one unit is to go
    assert 9 in cuts
    assert {name: found.student.groups[name].size for name in found.cutter.final} == found.cutter.final


def test_one_shot_is_one_cut() -> None:
    found, history, cuts = trained("bert", schedule=ScheduleConfig(kind="one-shot", start=0.3, end=0.9))
    assert cuts == [3]
    assert {name: found.student.groups[name].size for name in found.cutter.final} == found.cutter.final
    assert [losses["hidden"] == 0 for losses in history] == [True] + [False] * 9
    assert history[3]["hidden"] > history[2]["hidden"]


@pytest.mark.parametrize("name", ["bert", "encoder"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_runs_reach_the_target_too(name: str, steps: int) -> None:
    found, _, cuts = trained(name, steps)
    assert len(cuts) >= 1
    assert {key: found.student.groups[key].size for key in found.cutter.final} == found.cutter.final


def test_scores_are_gathered_only_while_cuts_remain() -> None:
    found, _, _ = trained("bert", 6)
    before = {name: score.clone() for name, score in found.cutter.scores.value.items()}
    found.step(next(batches(found)))
    assert all(torch.equal(score, before[name]) for name, score in found.cutter.scores.value.items())


@pytest.mark.parametrize("importance", ["magnitude", "fisher", "movement", "random", "platon"])
def test_any_score_serves(importance: str) -> None:
    found, _, _ = trained("bert", 4, importance=importance)
    assert {name: found.student.groups[name].size for name in found.cutter.final} == found.cutter.final


# ---------------------------------------------------------------------- a golden run


def test_the_same_seed_gives_the_same_losses_and_another_seed_others() -> None:
    first, second = trained("bert", 20), trained("bert", 20)
    assert first[1] == second[1]
    assert first[0].student.plan == second[0].student.plan
    assert all(torch.equal(value, parameters(second[0])[name]) for name, value in parameters(first[0]).items())
    third = distiller("bert", max_steps=20)
    assert third.step(next(batches(third, seed=1)))[0] != first[1][0]


# ---------------------------------------------------------------------- the rate


def test_the_rate_warms_up_and_decays_to_nothing() -> None:
    found = distiller("bert", max_steps=100, warmup=0.1, learning_rate=1.0)
    rates = [found.rate(step) for step in range(1, 101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == pytest.approx(1.0)
    assert rates == [*sorted(rates[:10]), *sorted(rates[10:], reverse=True)]
    assert 0 < rates[-1] < 0.02


def test_tables_that_are_only_looked_up_learn_more_slowly() -> None:
    for name, tables in [("bert", {"position", "token_type"}), ("encoder", {"word", "position", "token_type"})]:
        found = distiller(name)
        names = {id(parameter): key for key, parameter in found.student.traced.named_parameters()}
        slow = [group for group in found.optimizer.param_groups if group["scale"] != 1.0]
        held = {names[id(parameter)] for group in slow for parameter in group["params"]}
        assert {key.split(".")[-2].removesuffix("_embeddings") for key in held} == tables


# ---------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("term", ["hidden", "task"])
def test_a_loss_that_is_no_number_stops_the_run_and_is_named(term: str) -> None:
    found = distiller("bert")
    stream = batches(found)
    found.step(next(stream))
    if term == "hidden":
        found.terms.maps[found.terms.taps.hidden[0].node].weight[0, 0] = float("nan")
    else:
        nn.init.constant_(found.student.traced.get_parameter("cls.predictions.bias"), float("nan"))
    with pytest.raises(DistillError, match=rf"the {term} loss is nan at step 2\n.*lower --learning-rate"):
        found.step(next(stream))


def test_a_batch_without_a_masked_token_is_no_reason_to_stop() -> None:
    found = distiller("bert")
    batch = next(batches(found))
    losses, _, _ = found.step(Batch(batch.inputs, torch.full_like(batch.labels, -100)))  # type: ignore[arg-type]
    assert losses["task"] == losses["kl"] == 0


@pytest.mark.parametrize("rows", [1, 3])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(rows: int) -> None:
    """Every row of a causal model has as many labels, so the mean over parts is the mean over the batch."""
    only = LossWeights(task=1, kl=0, hidden=0, embedding=0, attention=0)
    whole, parts = (distiller("gpt2", loss=only, clip=1e9, micro_batch=n) for n in (None, rows))
    batch, gradients = next(batches(whole, "gpt2")), []
    for found in (whole, parts):
        found.optimizer.zero_grad = lambda set_to_none=True: None  # type: ignore[method-assign]
        found.step(batch)
        gradients.append({name: value.grad for name, value in found.student.traced.named_parameters()})
    for name, grad in gradients[0].items():
        if grad is not None:
            assert torch.allclose(grad, gradients[1][name], atol=1e-6), name
    assert max(float(grad.abs().max()) for grad in gradients[0].values() if grad is not None) > 1e-3


def test_parts_share_a_batch() -> None:
    batch = next(batches(distiller("bert")))
    found = list(batch.parts(3))
    assert [part.rows for part in found] == [3, 1]
    assert [part.first for part in found] == [0, 3]
    assert [part.share for part in found] == [0.75, 0.25]
    assert {part.whole for part in found} == {batch.whole}
    assert torch.equal(torch.cat([part.labels for part in found]), batch.labels)  # type: ignore[list-item,arg-type]
    assert [part.share for part in batch.parts(None)] == [1.0]
