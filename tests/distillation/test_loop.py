"""Single steps of distillation: losses, scores, cuts, and all that follows a cut."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from accelerate import Accelerator
from models import _BERT as BERT
from models import ALL, Inputs, _hugging
from remembering import captured
from text import sentences, tokenizer
from torch import Tensor, nn

from fxprune import api
from fxprune.axes import resolve
from fxprune.distillation.config import DistillConfig, LossWeights, ScheduleConfig
from fxprune.distillation.loop import Distiller, generator_for
from fxprune.distillation.objective import Batch, find_objective
from fxprune.distillation.taps import find_taps
from fxprune.errors import DistillError, UsageError
from fxprune.groups import byproducts, feature_outputs
from fxprune.importance import UnitScorer, magnitude
from fxprune.student import Student
from fxprune.traced import Traced
from fxprune.widths import Constraints

LENGTH, ROWS = 12, 4


def traced(name: str) -> Traced:
    """A model in float32."""
    torch.manual_seed(0)
    build = _hugging("BertModel", **BERT) if name == "encoder" else ALL[name].build
    return captured(build().eval(), inputs(name))


def inputs(name: str) -> Inputs:
    return ALL.get(name, ALL["bert"]).inputs(5, 13)


def distiller(name: str, **options: object) -> Distiller:
    config = DistillConfig(**{"target_params": "40%", "max_steps": 10, "length": LENGTH} | options)  # type: ignore[arg-type]
    dense = traced(name)
    objective = find_objective(dense, words(name))
    free = feature_outputs(dense) if objective.logits is None else byproducts(dense)
    student = Student(dense, free_outputs=free)
    final = api.counts_for(student, target_params=config.target_params, limits=Constraints())
    teacher = copy.deepcopy(dense).requires_grad_(False)
    taps = find_taps(dense, student.groups, free)
    torch.manual_seed(config.seed)
    return Distiller(teacher, student, taps, objective, final, config, Accelerator(cpu=True))


def words(name: str) -> object:
    return tokenizer(mask=name not in ("gpt2", "llama", "llama_gqa"))


def batches(found: Distiller, name: str = "bert", seed: int = 0) -> Iterator[Batch]:
    own, masks, draw = words(name), generator_for(seed), torch.Generator().manual_seed(seed)
    ids = torch.tensor(own(" ".join(sentences(40)), add_special_tokens=False)["input_ids"])  # type: ignore[operator]
    rows = ids[: len(ids) // LENGTH * LENGTH].view(-1, LENGTH)
    while True:
        chosen = rows[torch.randint(len(rows), (ROWS,), generator=draw)]
        batch = {"input_ids": chosen, "attention_mask": torch.ones_like(chosen)}
        yield found.objective.prepare(batch, own, masks, 0.3)


def trained(name: str, steps: int = 10, **options: object) -> tuple[Distiller, list[dict[str, float]], list[int]]:
    found = distiller(name, max_steps=steps, **options)
    stream, history, cuts = batches(found, name), [], []
    for step in range(1, steps + 1):
        losses, cut, _ = found.step(next(stream))
        history.append(losses)
        cuts += [step] if cut else []
    return found, history, cuts


def parameters(found: Distiller) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in found.student.traced.named_parameters()}


def terms(found: Distiller, batch: Batch) -> dict[str, float]:
    with torch.no_grad():
        teacher, student = found.run(found.teacher, batch), found.run(found.student.traced, batch)
        return {name: float(value) for name, value in found.losses(student, teacher, batch).items()}


# ---------------------------------------------------------------------- an uncut student


@pytest.mark.parametrize("name", ["bert", "modernbert", "electra", "gpt2", "llama_gqa", "encoder"])
def test_every_transfer_loss_of_an_uncut_student_is_exactly_zero(name: str) -> None:
    found = distiller(name)
    values = terms(found, next(batches(found, name)))
    language = [] if name == "encoder" else ["kl"]
    assert set(values) == {"task", "hidden", "embedding", "attention", *language}
    assert {values[term] for term in ("hidden", "embedding", "attention", *language)} == {0.0}
    assert (values["task"] > 1) == (name != "encoder")


@pytest.mark.parametrize("name", ["encoder", "bert", "llama"])
def test_a_student_that_equals_its_teacher_has_scores_that_differ(name: str) -> None:
    """Features alone have no gradient there: a random projection of them stands in until the first cut."""
    found = distiller(name)
    found.step(next(batches(found, name)))
    assert found.scores.value.keys() == {group.name for group in found.student.groups.prunable}
    for group, scores in found.scores.value.items():
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


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama_gqa"])
def test_heads_are_compared_with_the_heads_they_were(name: str) -> None:
    """Nothing before the last attention is cut, so the scores of the heads that stay are what they were."""
    found = distiller(name, loss=LossWeights(task=0, kl=0, hidden=0, embedding=0))
    last = found.taps.attention[-1]
    groups = {group.name: group for group in found.student.groups if group.factor in resolve(last.heads)}
    assert len(groups) == (2 if name == "llama_gqa" else 1)  # key heads, and queries a key
    scores = UnitScorer(found.student.groups)(found.student.traced, magnitude)
    for _ in range(2):  # twice, so that dense places are looked up
        found.student.cut_to({key: max(1, group.size - 1) for key, group in groups.items()}, scores)
        scores = UnitScorer(found.student.groups)(found.student.traced, magnitude)
    places = found._lineage(last.heads)
    assert len(set(places.tolist())) == len(places) == 2
    batch = next(batches(found, name))
    assert terms(found, batch) == {"attention": pytest.approx(0, abs=1e-12)}
    wrong = places.flip(0)
    found._lineage = lambda axis: wrong if axis is last.heads else torch.arange(8 if name[0] == "l" else 4)  # type: ignore[method-assign]
    assert terms(found, batch)["attention"] > 0.1


def test_the_student_ends_at_the_planned_counts() -> None:
    found, _, cuts = trained("bert")
    assert {name: found.student.groups[name].size for name in found.final} == found.final
    dense = found.teacher.num_parameters()
    assert 0.99 * 0.4 * dense <= found.student.traced.num_parameters() <= 0.4 * dense
    assert cuts[-1] == 5  # half of the steps
    assert found.student.plan.sizes().items() >= found.final.items()


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
        assert found.scores.value[group.name].shape[-1] == group.size
    width = found.student.groups["hidden"].size
    assert {tuple(found.maps[node].weight.shape) for node in found.maps} == {(32, width)}
    assert not any(parameter.requires_grad for parameter in found.teacher.parameters())


def test_the_teacher_is_never_trained() -> None:
    found, _, _ = trained("bert")
    assert all(
        torch.equal(value, traced("bert").state_dict()[key]) for key, value in found.teacher.state_dict().items()
    )


@pytest.mark.parametrize("interval", [5, 1])
def test_cuts_come_at_intervals_and_at_the_end(interval: int) -> None:
    schedule = ScheduleConfig(start=0.2, end=0.8, interval=interval)
    found = distiller("bert", max_steps=20, schedule=schedule)
    due = [step for step in range(1, 21) if found._due(step)]
    assert due == ([4, 9, 14, 16] if interval == 5 else [*range(4, 17)])
    found, _, cuts = trained("bert", 20, schedule=schedule)
    assert set(cuts) < set(due)  # at the start all is left, and near the end less than one unit is to go
    assert 9 in cuts
    assert {name: found.student.groups[name].size for name in found.final} == found.final


def test_one_shot_is_one_cut() -> None:
    found, history, cuts = trained("bert", schedule=ScheduleConfig(kind="one-shot", start=0.3, end=0.9))
    assert cuts == [3]
    assert {name: found.student.groups[name].size for name in found.final} == found.final
    assert [losses["hidden"] == 0 for losses in history] == [True] + [False] * 9
    assert history[3]["hidden"] > history[2]["hidden"]


@pytest.mark.parametrize("name", ["bert", "encoder"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_runs_reach_the_target_too(name: str, steps: int) -> None:
    found, _, cuts = trained(name, steps)
    assert len(cuts) >= 1
    assert {key: found.student.groups[key].size for key in found.final} == found.final


def test_scores_are_gathered_only_while_cuts_remain() -> None:
    found, _, _ = trained("bert", 6)
    before = {name: score.clone() for name, score in found.scores.value.items()}
    found.step(next(batches(found)))
    assert all(torch.equal(score, before[name]) for name, score in found.scores.value.items())


@pytest.mark.parametrize("importance", ["magnitude", "fisher", "movement", "random"])
def test_any_score_serves(importance: str) -> None:
    found, _, _ = trained("bert", 4, importance=importance)
    assert {name: found.student.groups[name].size for name in found.final} == found.final


# ---------------------------------------------------------------------- a golden run


def test_the_same_seed_gives_the_same_losses_and_another_seed_others() -> None:
    first, second = trained("bert", 20), trained("bert", 20)
    assert first[1] == second[1]
    assert first[0].student.plan == second[0].student.plan
    assert all(torch.equal(value, parameters(second[0])[name]) for name, value in parameters(first[0]).items())
    third = distiller("bert", max_steps=20)
    assert third.step(next(batches(third, seed=1)))[0] != first[1][0]


def test_the_total_is_the_weighted_sum() -> None:
    weights = LossWeights(task=2.0, kl=0.5, hidden=0.1, embedding=0.0, attention=3.0)
    _, history, _ = trained("bert", 6, loss=weights)
    for losses in history:
        assert "embedding" not in losses
        expected = sum(getattr(weights, term) * value for term, value in losses.items() if term != "total")
        assert losses["total"] == pytest.approx(expected, rel=1e-5)


def test_training_helps() -> None:
    found, _, _ = trained("bert", 60, learning_rate=1e-2, schedule=ScheduleConfig(kind="one-shot"))
    idle, _, _ = trained("bert", 60, learning_rate=1e-9, schedule=ScheduleConfig(kind="one-shot"))
    stream = batches(found, seed=9)
    held_out = [next(stream) for _ in range(4)]
    better, worse = found.evaluate(held_out)["student"], idle.evaluate(held_out)["student"]
    assert better["task"] < worse["task"] - 0.5
    assert better["hidden"] < worse["hidden"]


# ---------------------------------------------------------------------- the rate


def test_the_rate_warms_up_and_decays_to_nothing() -> None:
    found = distiller("bert", max_steps=100, warmup=0.1, learning_rate=1.0)
    rates = [found._rate(step) for step in range(1, 101)]
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


# ---------------------------------------------------------------------- dropout and evaluation


def test_the_student_drops_out_only_if_asked() -> None:
    for dropout in (False, True):
        found = distiller("bert", dropout=dropout)
        batch = next(batches(found))
        first, second = (terms(found, batch)["hidden"] for _ in range(2))
        assert (first == second) != dropout
        measured = [found.evaluate([batch])["student"] for _ in range(2)]
        assert measured[0] == measured[1]
        assert measured[0]["hidden"] == 0


def test_evaluation_weighs_batches_by_their_rows() -> None:
    found, _, _ = trained("bert", 6)
    stream = batches(found, seed=5)
    whole, other = next(stream), next(stream)
    part = Batch({name: tensor[:1] for name, tensor in other.inputs.items()}, other.labels[:1])  # type: ignore[index]
    measured = found.evaluate([whole, part])
    alone = [found.evaluate([batch]) for batch in (whole, part)]
    for who in ("teacher", "student"):
        expected = (alone[0][who]["task"] * ROWS + alone[1][who]["task"]) / (ROWS + 1)
        assert measured[who]["task"] == pytest.approx(expected, rel=1e-5)
    assert set(measured["teacher"]) == {"task"}
    assert set(measured["student"]) == {"task", "kl", "hidden", "embedding", "attention"}


def test_evaluation_changes_no_weight() -> None:
    found, _, _ = trained("bert", 6)
    before = parameters(found)
    found.evaluate([next(batches(found))])
    assert all(torch.equal(value, before[name]) for name, value in parameters(found).items())


# ---------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("term", ["hidden", "task"])
def test_a_loss_that_is_no_number_stops_the_run_and_is_named(term: str) -> None:
    found = distiller("bert")
    stream = batches(found)
    found.step(next(stream))
    if term == "hidden":
        found.maps[found.taps.hidden[0].node].weight[0, 0] = float("nan")
    else:
        nn.init.constant_(found.student.traced.get_parameter("cls.predictions.bias"), float("nan"))
    with pytest.raises(DistillError, match=rf"the {term} loss is nan at step 2\n.*lower --learning-rate"):
        found.step(next(stream))


def test_a_batch_without_a_masked_token_is_no_reason_to_stop() -> None:
    found = distiller("bert")
    batch = next(batches(found))
    losses, _, _ = found.step(Batch(batch.inputs, torch.full_like(batch.labels, -100)))  # type: ignore[arg-type]
    assert losses["task"] == losses["kl"] == 0


def test_a_model_all_weighted_terms_are_missing_of_is_refused() -> None:
    found = distiller("encoder", loss=LossWeights(task=0, kl=1, hidden=0, embedding=0, attention=0))
    with pytest.raises(UsageError, match="no loss term is left for this model"):
        found.step(next(batches(found)))
