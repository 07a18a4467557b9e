from __future__ import annotations

import pytest
import torch
from cutting import Cut, halves, ledger_of
from models import inputs_of, traced_of
from torch import Tensor

from fxprune.errors import PlanError
from fxprune.groups import analyse
from fxprune.ledger import Ledger
from fxprune.passes import SliceUnits, run_passes
from fxprune.traced import Traced

HEADS, QK = "blocks.0.attention.heads", "blocks.0.attention.qkv.qk"


def _to(traced: Traced, *plans: object) -> dict[str, Tensor]:
    """Cut a model to one plan after the other; return its state."""
    groups = analyse(traced)
    ledger = ledger_of(traced, groups)
    for plan in plans:
        kept = ledger.kept(ledger.cut_for(plan))  # type: ignore[arg-type]
        ledger.record(kept)
        run_passes(traced, [SliceUnits(groups.inferred, kept)])
    assert ledger.plan() == plans[-1]
    return traced.state_dict()


def _equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("ragged", [False, True], ids=["plain", "ragged"])
@pytest.mark.parametrize("name", ["bert", "modernbert", "llama", "t5", "fused_qkv", "partial_rotary", "folded_heads"])
def test_two_steps_are_one_step(name: str, ragged: bool) -> None:
    cut = Cut.of(traced_of(name), ragged=ragged)
    halfway = cut.plan
    cut.apply(halves(cut.after, ragged=ragged, seed=1))
    assert _equal(_to(traced_of(name), cut.plan), cut.slim.state_dict())
    assert _equal(_to(traced_of(name), halfway, cut.plan), cut.slim.state_dict())
    assert _equal(cut.plan.apply(cut.dense.state_dict()), cut.slim.state_dict())


def test_two_steps_are_proved_against_the_dense_model() -> None:
    cut = Cut.of(traced_of("fused_qkv"), ragged=True)
    cut.apply(halves(cut.after, ragged=True, seed=1))
    oracle = Ledger(cut.before, {}, cut.plan.model)
    cut.kept = oracle.kept(oracle.cut_for(cut.plan))
    assert cut.faults(inputs_of("fused_qkv")) == []
    assert cut.masked_error(inputs_of("fused_qkv")) < 1e-10


def test_a_plain_cut_may_be_followed_by_a_ragged_one_but_not_the_other_way() -> None:
    cut = Cut.of(traced_of("fused_qkv"), {QK: _mask(6, 0, 1, 2, 5)})
    rows = torch.stack([_mask(4, 0, 1), _mask(4, 2, 3), _mask(4, 1, 2), _mask(4, 0, 3)])
    cut.apply({QK: rows})
    (entry,) = (entry for entry in cut.plan.groups.values() if entry.name == QK)
    assert entry.keep == ((0, 1), (2, 5), (1, 2), (0, 5))
    with pytest.raises(PlanError, match=r"was cut unevenly before\n  remedy  pass one row for each outer unit"):
        cut.ledger.kept({QK: _mask(2, 0)})


def test_removing_an_outer_unit_removes_its_row() -> None:
    rows = torch.stack([_mask(6, 0, 1), _mask(6, 2, 3), _mask(6, 4, 5), _mask(6, 0, 5)])
    cut = Cut.of(traced_of("fused_qkv"), {QK: rows})
    cut.apply({HEADS: _mask(4, 1, 3)})
    (entry,) = (entry for entry in cut.plan.groups.values() if entry.name == QK)
    assert entry.keep == ((2, 3), (0, 5))
    assert cut.ledger.left(HEADS).tolist() == [1, 3]


def _mask(size: int, *units: int) -> Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[list(units)] = True
    return mask


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    traced = traced_of("fused_qkv")
    return ledger_of(traced, analyse(traced))


def test_keeping_everything_cuts_nothing(ledger: Ledger) -> None:
    assert ledger.kept({"hidden": torch.ones(24, dtype=torch.bool)}).units == {}
    assert ledger.cut_for(ledger.plan()) == {}


def test_an_unknown_group_is_refused(ledger: Ledger) -> None:
    with pytest.raises(PlanError, match=r"unknown group 'hiden'; did you mean 'hidden'\? known: blocks"):
        ledger.kept({"hiden": _mask(24, 0)})


def test_a_frozen_group_is_refused_with_its_reason(ledger: Ledger) -> None:
    with pytest.raises(PlanError) as refusal:
        ledger.kept({"positions.axis0": _mask(64, 0)})
    assert str(refusal.value).splitlines() == [
        "group 'positions.axis0' may not be cut",
        "  node    embedding_1",
        "  module  positions",
        "  cause   rows are picked by data",
        "  remedy  leave it out of the plan",
    ]


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("hidden", torch.zeros(24, dtype=torch.bool)),
        ("hidden", torch.ones(23, dtype=torch.bool)),
        ("hidden", torch.ones(24)),
        (QK, torch.stack([_mask(6, 0), _mask(6), _mask(6, 0), _mask(6, 0)])),
    ],
    ids=["keeps nothing", "another size", "no bools", "keeps nothing of one head"],
)
def test_a_mask_that_cannot_be_meant_is_refused(ledger: Ledger, name: str, mask: Tensor) -> None:
    with pytest.raises(PlanError, match=rf"cannot keep \d+ of {ledger.groups[name].size} units of group '{name}'"):
        ledger.kept({name: mask})


def test_ragged_masks_need_an_outer_group_and_equal_counts(ledger: Ledger) -> None:
    with pytest.raises(PlanError, match=r"may not keep different units(.|\n)*a parameter holds it without"):
        ledger.kept({"hidden": torch.stack([_mask(24, 0), _mask(24, 1)])})
    with pytest.raises(PlanError, match=rf"may not keep different units(.|\n)*'{HEADS}' has another size"):
        ledger.kept({QK: torch.stack([_mask(6, 0), _mask(6, 1)])})
    with pytest.raises(PlanError, match="keeps 1 to 2 units"):
        ledger.kept({QK: torch.stack([_mask(6, 0), _mask(6, 1), _mask(6, 2), _mask(6, 3, 4)])})


def test_counts_of_heads_that_go_do_not_matter(ledger: Ledger) -> None:
    rows = torch.stack([_mask(6, 0), _mask(6, 1), _mask(6, 2), _mask(6, 3, 4)])
    kept = ledger.kept({QK: rows, HEADS: _mask(4, 0, 1)})
    assert kept.count(ledger.groups[QK].factor) == 1


def test_a_plan_that_keeps_what_is_gone_is_refused() -> None:
    first, second = (Cut.of(traced_of("fused_qkv"), {"hidden": _mask(24, *units)}) for units in ((0, 1), (1, 2)))
    with pytest.raises(PlanError, match=r"the plan keeps units of 'hidden' that are gone\n  remedy  start from"):
        first.ledger.cut_for(second.plan)
    ragged = [
        Cut.of(traced_of("fused_qkv"), {QK: torch.stack([_mask(6, i, i + 1) for i in rows])})
        for rows in ([0, 1, 2, 3], [1, 2, 3, 4])
    ]
    with pytest.raises(PlanError, match=f"the plan keeps units of '{QK}' that are gone"):
        ragged[0].ledger.cut_for(ragged[1].plan)


def test_the_plan_of_another_model_or_another_analysis_is_refused(ledger: Ledger) -> None:
    with pytest.raises(PlanError, match=r"the plan belongs to another model\n  cause   its fingerprint is"):
        ledger.cut_for(Cut.of(traced_of("bert")).plan)
    other = Ledger(ledger.groups, {}, ledger.model)
    other.dense = {**other.dense, "hidden": 23}
    with pytest.raises(PlanError, match=r"a group 'hidden' of 24 units, which this model does not have"):
        other.cut_for(ledger.plan())
