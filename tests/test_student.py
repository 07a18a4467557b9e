"""A student is cut in place, as often as wanted, with all it holds kept in step."""

from __future__ import annotations

import copy

import pytest
import torch
from models import inputs_of, model_of, traced_of
from torch import Tensor
from torch.fx import Interpreter, Node

from fxprune.calls import results_of
from fxprune.errors import PlanError
from fxprune.groups import Groups, analyse
from fxprune.importance import magnitude
from fxprune.student import Student, refresh_shapes
from fxprune.traced import tensor_of
from fxprune.unit_scores import UnitScorer
from fxprune.units import Kept
from fxprune.verify.compare import output_tensors

NAMES = ["bert", "modernbert", "gpt2", "llama", "t5", "vit", "partial_rotary", "folded_heads", "tied_three_ways"]


def halved(student: Student) -> dict[str, int]:
    return {group.name: max(2, group.size // 2) for group in student.groups.prunable}


def cut_to(student: Student, counts: dict[str, int], *optimizers: torch.optim.Optimizer) -> dict[str, Tensor]:
    return student.cut_to(counts, UnitScorer(student.groups)(student.traced, magnitude), tuple(optimizers))


def test_it_is_cut_to_the_counts_and_counted() -> None:
    student = Student(traced_of("bert"))
    counts = halved(student)
    foreseen = student.budget.parameters(counts)
    masks = cut_to(student, counts)
    assert {name: student.groups[name].size for name in counts} == counts
    assert counts.items() <= student.plan.sizes().items()
    assert masks.keys() == counts.keys()
    assert student.traced.num_parameters() == student.budget.parameters({}) == foreseen


def test_the_best_units_stay() -> None:
    student = Student(traced_of("bert"))
    scores = UnitScorer(student.groups)(student.traced, magnitude)
    masks = student.cut_to({"hidden": 10}, scores)
    assert masks["hidden"].nonzero().flatten().tolist() == sorted(scores["hidden"].topk(10).indices.tolist())
    assert student.ledger.left("hidden").tolist() == masks["hidden"].nonzero().flatten().tolist()


def test_a_group_that_is_small_enough_is_left_alone() -> None:
    student = Student(traced_of("bert"))
    code = student.traced.code
    assert cut_to(student, {"hidden": 32, "bert.encoder.layer.0.inner": 99}) == {}
    assert student.traced.code == code


def test_two_cuts_equal_one_plan() -> None:
    student = Student(traced_of("bert"))
    cut_to(student, {name: count + 1 for name, count in halved(student).items()})
    cut_to(student, halved(student))
    at_once = Student(traced_of("bert"))
    at_once.apply(student.plan)
    assert at_once.plan == student.plan
    assert equal(at_once.traced.state_dict(), student.traced.state_dict())
    assert equal(student.plan.apply(traced_of("bert").state_dict()), student.traced.state_dict())


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", ["bert", "gpt2", "tied_three_ways"])
def test_ties_stay(name: str) -> None:
    student = Student(traced_of(name))
    cut_to(student, halved(student))
    aliases = student.traced.provenance.aliases
    assert aliases
    for names in aliases.values():
        assert len({id(tensor_of(student.traced, alias)) for alias in names}) == 1


def test_the_state_of_adam_follows() -> None:
    student = Student(traced_of("bert"))
    optimizer = torch.optim.AdamW(student.traced.parameters(), lr=1e-3)
    student.traced(**inputs_of("bert")).logits.square().mean().backward()
    optimizer.step()
    before = {name: optimizer.state[p]["exp_avg"] for name, p in student.traced.named_parameters()}
    cut_to(student, halved(student), optimizer)
    parameters = dict(student.traced.named_parameters())
    assert set(map(id, optimizer.param_groups[0]["params"])) == set(map(id, parameters.values()))
    assert len(optimizer.state) == len(parameters)
    sliced = student.plan.apply(traced_of("bert").state_dict() | before)
    for name, parameter in parameters.items():
        assert torch.equal(optimizer.state[parameter]["exp_avg"], sliced[name])
        assert optimizer.state[parameter]["exp_avg_sq"].shape == parameter.shape
        assert int(optimizer.state[parameter]["step"]) == 1
    student.traced(**inputs_of("bert")).logits.square().mean().backward()
    optimizer.step()


def test_followers_are_told_before_the_groups_shrink() -> None:
    student = Student(traced_of("bert"))
    seen: list[tuple[int, int]] = []

    def follow(kept: Kept) -> None:
        factor = student.groups["hidden"].factor
        seen.append((student.groups["hidden"].size, kept.count(factor)))

    scores = UnitScorer(student.groups)(student.traced, magnitude)
    student.cut_to({"hidden": 20}, scores, followers=[follow])
    student.cut_to({"hidden": 20}, scores, followers=[follow])  # nothing to cut: nobody is told
    assert seen == [(32, 20)]


def test_a_cut_that_is_refused_changes_nothing() -> None:
    student = Student(traced_of("bert"))
    before = copy.deepcopy(student.traced.state_dict())
    with pytest.raises(PlanError, match="may not be cut"):
        student.cut({"hidden": torch.arange(32) < 9, "cls.predictions.decoder.axis0": torch.arange(99) < 9})
    assert equal(student.traced.state_dict(), before)
    assert student.groups["hidden"].size == 32
    assert student.plan.sizes()["hidden"] == 32


# ---------------------------------------------------------------------- shapes of now


class Shapes(Interpreter):
    """Runs a graph and compares what its nodes say of themselves with what they are."""

    def run_node(self, n: Node) -> object:
        value = super().run_node(n)
        results = [value] if isinstance(value, Tensor) else list(value) if isinstance(value, (tuple, list)) else []
        for said, actual in zip(results_of(n) or [], results, strict=False):
            for size, real in zip(said.shape, actual.shape, strict=True):
                assert not isinstance(size, int) or size == real, (n, said.shape, actual.shape)
        return value


def described(groups: Groups) -> dict[str, tuple]:
    return {group.name: (group.size, group.members, group.role, str(group.frozen)) for group in groups}


@pytest.mark.parametrize("name", NAMES)
def test_after_a_refresh_the_slim_graph_is_analysed_as_it_is(name: str) -> None:
    student = Student(traced_of(name))
    cut_to(student, halved(student))
    refresh_shapes(student.traced, student.groups)
    with torch.no_grad():
        Shapes(student.traced).run(*inputs_of(name).values())
    again = analyse(student.traced, free_outputs=frozenset())
    assert described(again) == described(student.groups)
    assert again.ragged == student.groups.ragged


@pytest.mark.parametrize("name", ["bert", "llama", "t5"])
def test_a_slim_graph_is_cut_again(name: str) -> None:
    student = Student(traced_of(name))
    cut_to(student, {group.name: max(2, group.size * 3 // 4) for group in student.groups.prunable})
    refresh_shapes(student.traced, student.groups)
    second = Student(copy.deepcopy(student.traced))
    cut_to(second, halved(second))
    cut_to(student, halved(student))
    assert equal(second.traced.state_dict(), student.traced.state_dict())
    ours, theirs = (output_tensors(s.traced(**inputs_of(name, 3, 9))) for s in (second, student))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_the_model_it_came_from_is_not_touched() -> None:
    before = copy.deepcopy(model_of("bert").state_dict())
    student = Student(traced_of("bert"))
    cut_to(student, halved(student))
    assert equal(model_of("bert").state_dict(), before)
