"""The certificate: a sound cut is proved, a tampered one is refused with the proof that failed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from models import inputs_of, traced_of

from fxprune.certificate import Certificate, certify
from fxprune.errors import PlanError, VerifyError
from fxprune.importance import magnitude
from fxprune.student import Student
from fxprune.traced import Traced, register, tensor_of
from fxprune.unit_scores import UnitScorer


@dataclass
class Pair:
    """A model before and after a cut."""

    dense: Traced
    student: Student

    def certify(self, **options: float) -> Certificate:
        return certify(
            self.dense,
            self.student.traced,
            self.student.groups,
            self.student.plan,
            inputs_of("bert", 3, 9),
            **options,  # type: ignore[arg-type]
        )


@pytest.fixture
def pair() -> Pair:
    dense = traced_of("bert")
    student = Student(copy.deepcopy(dense))
    counts = {group.name: group.size // 2 for group in student.groups.prunable}
    student.cut_to(counts, UnitScorer(student.groups)(student.traced, magnitude))
    return Pair(dense, student)


def test_a_sound_cut_is_proved(pair: Pair) -> None:
    before = copy.deepcopy(pair.dense.state_dict())
    certificate = pair.certify(tolerance=1e-10)
    assert certificate.holds
    assert certificate.permutation < 1e-10
    assert 0 < certificate.masked < 1e-10
    assert certificate.faults == ()
    assert all(torch.equal(value, before[name]) for name, value in pair.dense.state_dict().items())


def test_the_certificate_is_json_and_names_the_plan(pair: Pair) -> None:
    certificate = pair.certify()
    data = json.loads(certificate.to_json())
    assert data["holds"] is True
    assert data["faults"] == []
    assert data["masked"] == certificate.masked
    assert len(data["plan"]) == 16
    other = Student(traced_of("bert"))
    other.cut({"hidden": torch.arange(32) < 20})
    assert certify(traced_of("bert"), other.traced, other.groups, other.plan, inputs_of("bert")).plan != data["plan"]


def test_nothing_cut_is_proved_too() -> None:
    student = Student(traced_of("bert"))
    certificate = certify(traced_of("bert"), student.traced, student.groups, student.plan, inputs_of("bert"))
    assert certificate.holds
    assert certificate.masked == 0


def test_the_plan_must_be_of_the_dense_model(pair: Pair) -> None:
    plan = replace(pair.student.plan, model="another")
    with pytest.raises(PlanError, match="the plan belongs to another model"):
        certify(pair.dense, pair.student.traced, pair.student.groups, plan, inputs_of("bert"))


def misalign(slim: Traced) -> None:
    weight = tensor_of(slim, "bert.encoder.layer.0.output.dense.weight")
    weight.data = weight.data.roll(1, dims=1)


def nudge(slim: Traced) -> None:
    tensor_of(slim, "bert.encoder.layer.1.output.LayerNorm.bias").data[3] += 0.01


def untie(slim: Traced) -> None:
    register(slim, "bert.embeddings.word_embeddings.weight", _copy_of(slim, "bert.embeddings.word_embeddings.weight"))


def lengthen(slim: Traced) -> None:
    register(slim, "bert.encoder.layer.0.output.dense.bias", torch.nn.Parameter(torch.zeros(17, dtype=torch.float64)))


def rescale(slim: Traced) -> None:
    node = next(n for n in slim.graph.nodes if "scaled_dot_product" in str(n.target))
    node.update_kwarg("scale", node.kwargs["scale"] * 2**0.5)  # what 1/sqrt(head_dim) became when head_dim was halved
    slim.recompile()


def _copy_of(slim: Traced, name: str) -> torch.nn.Parameter:
    return torch.nn.Parameter(tensor_of(slim, name).detach().clone())


@pytest.mark.parametrize(
    ("tamper", "proof"),
    [
        (misalign, r"masked \d\.\de[+-]0[0123]"),
        (nudge, r"masked \d\.\de-0[234]"),
        (rescale, r"masked \d\.\de-0[01234]"),
        (untie, r"faults: .*word_embeddings.weight is no longer tied to"),
    ],
)
def test_a_tampered_slim_model_is_refused(pair: Pair, tamper: Callable[[Traced], None], proof: str) -> None:
    tamper(pair.student.traced)
    with pytest.raises(VerifyError, match=rf"does not compute what the plan says\n.*{proof}"):
        pair.certify()


def test_a_slim_model_that_does_not_run_is_refused(pair: Pair) -> None:
    lengthen(pair.student.traced)
    with pytest.raises(VerifyError, match=r"masked not computed, faults: .*has shape \[17\].*does not run"):
        pair.certify()


def test_it_holds_only_within_the_tolerance() -> None:
    facts = {"faults": (), "tolerance": 1e-4, "plan": ""}
    assert Certificate(permutation=1e-5, masked=1e-4, **facts).holds
    assert not Certificate(permutation=2e-4, masked=0.0, **facts).holds
    assert not Certificate(permutation=0.0, masked=float("inf"), **facts).holds
    assert not Certificate(permutation=0.0, masked=0.0, **facts | {"faults": ("x",)}).holds
    assert not Certificate(permutation=float("nan"), masked=0.0, **facts).holds
    assert not Certificate(permutation=0.0, masked=float("nan"), **facts).holds
