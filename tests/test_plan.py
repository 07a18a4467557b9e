from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cutting import Cut, half_of
from models import ALL, traced_of

from fxprune.errors import PlanError
from fxprune.plan import Plan, fingerprint, mask_of


def _dense_state(cut: Cut) -> dict[str, torch.Tensor]:
    return cut.dense.state_dict()


@pytest.mark.parametrize("ragged", [False, True], ids=["plain", "ragged"])
@pytest.mark.parametrize("name", ALL)
def test_dense_weights_and_plan_are_the_slim_weights(name: str, ragged: bool) -> None:
    cut = half_of(name, ragged=ragged)
    plan = Plan.from_json(cut.plan.to_json())
    assert plan == cut.plan
    slim, made = cut.slim.state_dict(), plan.apply(_dense_state(cut))
    assert made.keys() == slim.keys()
    assert all(torch.equal(made[key], slim[key]) for key in slim)


def test_the_other_way_puts_slim_weights_back_into_their_places() -> None:
    cut = half_of("bert", ragged=True)
    dense = _dense_state(cut)
    trained = {key: value + 1 for key, value in cut.slim.state_dict().items()}
    merged = cut.plan.implant(dense, trained)
    again = cut.plan.apply(merged)
    assert all(torch.equal(again[key], trained[key]) for key in trained)
    key = "bert.encoder.layer.0.attention.self.query.weight"
    changed = merged[key] != dense[key]
    assert int(changed.sum()) == trained[key].numel()


def test_sizes_are_the_kept_counts() -> None:
    cut = half_of("bert", ragged=True)
    sizes = cut.plan.sizes()
    assert sizes == {group.name: group.size for group in cut.after}
    assert sizes["hidden"] == 16


def test_a_plan_is_saved_and_loaded(tmp_path: Path) -> None:
    plan = half_of("fused_qkv", ragged=True).plan
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan
    with pytest.raises(PlanError, match=r"cannot read plan '.*nope.json'"):
        Plan.load(tmp_path / "nope.json")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlanError, match="cannot read plan"):
        Plan.load(tmp_path / "binary")


def test_the_plan_of_another_model_is_refused() -> None:
    plan = half_of("bert", ragged=False).plan
    with pytest.raises(PlanError, match=r"the plan belongs to another model\n  cause   the plan knows no '"):
        plan.apply(traced_of("fused_qkv").state_dict())
    wider = {key: torch.zeros(*value.shape, 2) for key, value in traced_of("bert").state_dict().items()}
    with pytest.raises(PlanError, match="parameters are missing or have other shapes"):
        plan.apply(wider)
    with pytest.raises(PlanError, match="belongs to another model"):
        plan.apply(half_of("bert", ragged=False).slim.state_dict())


def test_the_fingerprint_sees_names_and_shapes_only() -> None:
    a = {"x": torch.zeros(2, 3), "y": torch.zeros(1)}
    assert fingerprint(a) == fingerprint({"y": torch.ones(1), "x": torch.ones(2, 3)})
    assert fingerprint(a) != fingerprint({"x": torch.zeros(3, 2), "y": torch.zeros(1)})
    assert fingerprint(a) != fingerprint({"x": torch.zeros(2, 3)})


def _data() -> dict[str, Any]:
    return json.loads(half_of("fused_qkv", ragged=True).plan.to_json())  # type: ignore[no-any-return]


def _broken(change: Any) -> str:
    data = _data()
    change(data)
    return json.dumps(data)


def _group(data: dict[str, Any], name: str) -> dict[str, Any]:
    return next(group for group in data["groups"].values() if group["name"] == name)


HEADS, QK, HIDDEN = "blocks.0.attention.heads", "blocks.0.attention.qkv.qk", "hidden"
MALFORMED = {
    "not JSON": ("{", "the text is no plan"),
    "a list": ("[]", "the text is no plan"),
    "another file": ('{"format": "x", "version": 1}', "the text is no plan"),
    "no version": ('{"format": "fxprune plan"}', "the text is no plan"),
    "a newer version": (_broken(lambda d: d.update(version=2)), "plan version 2 is unknown\n  remedy  this fxprune"),
    "no groups": (_broken(lambda d: d.pop("groups")), "the text is no plan"),
    "groups as a list": (_broken(lambda d: d.update(groups=[])), "the text is no plan"),
    "a unit that does not exist": (
        _broken(lambda d: _group(d, HIDDEN).update(keep=[0, 24])),
        "group 'hidden' keeps units that are not ascending numbers below 24",
    ),
    "a negative unit": (_broken(lambda d: _group(d, HIDDEN).update(keep=[-1, 2])), "not ascending numbers below 24"),
    "units out of order": (_broken(lambda d: _group(d, HIDDEN).update(keep=[2, 1])), "not ascending"),
    "a unit twice": (_broken(lambda d: _group(d, HIDDEN).update(keep=[1, 1])), "not ascending"),
    "a unit that is no number": (_broken(lambda d: _group(d, HIDDEN).update(keep=["a"])), "the text is no plan"),
    "a unit that is a truth": (_broken(lambda d: _group(d, HIDDEN).update(keep=[True])), "the text is no plan"),
    "no units": (_broken(lambda d: _group(d, HIDDEN).update(keep=[])), "keeps no units"),
    "rows of unequal length": (
        _broken(lambda d: _group(d, QK).update(keep=[[0, 1], [0]])),
        "keeps no units, or not the same number",
    ),
    "a row short": (_broken(lambda d: _group(d, QK).update(keep=[[0, 1]])), "has 1 lists of units"),
    "rows for a plain group": (_broken(lambda d: _group(d, HEADS).update(keep=[[0, 1]])), "the text is no plan"),
    "an outer group that is none": (_broken(lambda d: _group(d, QK).update(under="g99")), "not one for each kept unit"),
    "an unknown group in a tensor": (_broken(lambda d: d["tensors"].update(x=["g99"])), "the text is no plan"),
    "a malformed axis": (_broken(lambda d: d["tensors"].update(x=["(g1"])), "the text is no plan"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_text_is_refused_in_one_sentence(case: str) -> None:
    text, message = MALFORMED[case]
    with pytest.raises(PlanError, match=re.escape(message)):
        Plan.from_json(text)


def test_a_mask_of_units() -> None:
    assert mask_of([0, 2], 4).tolist() == [True, False, True, False]
    assert mask_of([], 2).tolist() == [False, False]


def test_plans_are_equal_by_content() -> None:
    plan = half_of("fused_glu", ragged=False).plan
    assert plan == replace(plan)
    assert plan != replace(plan, model="other")
