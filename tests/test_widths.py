"""Which counts belong together, and which combinations a component offers."""

from __future__ import annotations

import itertools
from math import prod

import pytest
import zoo
from models import ARCHITECTURES, model_of, traced_of

from fxprune import api
from fxprune.groups import Groups, analyse
from fxprune.options import Options
from fxprune.widths import Component, Constraints, components

LAYER = "bert.encoder.layer.0.attention"


@pytest.fixture(scope="module")
def bert() -> Groups:
    return analyse(traced_of("bert"))


@pytest.fixture(scope="module")
def limits() -> Constraints:
    return api.constraints(model_of("bert"), traced_of("bert"))


def by_group(found: list[Component]) -> dict[str, Component]:
    return {name: component for component in found for name in component.groups}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_prunable_group_is_in_exactly_one_component(name: str) -> None:
    groups = analyse(traced_of(name))
    names = [name for component in components(groups, Constraints()) for name in component.groups]
    assert sorted(names) == sorted(group.name for group in groups.prunable)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5"])
def test_options_go_from_dense_to_narrow(name: str) -> None:
    groups = analyse(traced_of(name))
    for component in components(groups, Constraints()):
        ratios = [ratio for ratio, _ in component.options]
        assert ratios == sorted(ratios, reverse=True)
        assert ratios[0] == 1.0
        assert component.options[0][1] == {name: groups[name].size for name in component.groups}
        for _, counts in component.options:
            assert counts.keys() == set(component.groups)
            assert all(1 <= count <= groups[name].size for name, count in counts.items())


def test_heads_and_their_dims_are_one_component_and_others_stand_alone(bert: Groups) -> None:
    found = by_group(components(bert, Constraints()))
    assert set(found[f"{LAYER}.heads"].groups) == {f"{LAYER}.heads", f"{LAYER}.self.qk", f"{LAYER}.value"}
    assert found["hidden"].groups == ("hidden",)
    assert len(found["hidden"].options) == 32


def test_a_ratio_takes_the_widest_option_not_above_it() -> None:
    component = Component(("a",), Options(((1.0, (4,)), (0.75, (3,)), (0.5, (2,))), [("a",)]))
    assert list(component.options) == [(1.0, {"a": 4}), (0.75, {"a": 3}), (0.5, {"a": 2})]
    assert [component.at(ratio) for ratio in (1.0, 0.99, 0.75, 0.6, 0.5)] == [0, 1, 1, 2, 2]
    assert component.at(0.1) == 2  # nothing narrower: the narrowest


def test_thin_heads_or_fewer_heads(bert: Groups) -> None:
    for thin, expected in [(True, (4, 4, 4)), (False, (2, 8, 8))]:
        component = by_group(components(bert, Constraints(), thin_heads=thin))[f"{LAYER}.heads"]
        counts = component.options[component.at(0.5)][1]
        assert (counts[f"{LAYER}.heads"], counts[f"{LAYER}.self.qk"], counts[f"{LAYER}.value"]) == expected


def test_what_a_class_keeps_in_proportion_is_one_component(bert: Groups, limits: Constraints) -> None:
    found = by_group(components(bert, limits))
    component = found["hidden"]
    assert {f"{LAYER}.heads", f"{LAYER}.self.qk", f"{LAYER}.value"} < set(component.groups)
    assert "bert.encoder.layer.0.inner" not in component.groups
    for _, counts in component.options:
        assert counts[f"{LAYER}.heads"] * counts[f"{LAYER}.value"] == counts["hidden"]
        assert counts[f"{LAYER}.self.qk"] == counts[f"{LAYER}.value"]


def test_heads_are_dropped_at_any_width_only_if_allowed(bert: Groups, limits: Constraints) -> None:
    kept, dropped = (by_group(components(bert, limits, drop_heads=drop))["hidden"] for drop in (False, True))
    assert {counts["hidden"] for _, counts in kept.options} == {32, 28, 24, 20, 16, 12, 8, 4, 3, 2, 1}
    assert {counts["hidden"] for _, counts in dropped.options} > {32, 24, 21, 18}
    assert {tuple(counts.values()) for _, counts in kept.options} <= {
        tuple(counts.values()) for _, counts in dropped.options
    }


def test_a_fixed_axis_and_a_recomputed_buffer_lock_their_group(bert: Groups) -> None:
    weight = ("bert.encoder.layer.1.intermediate.dense.weight", 0)
    limits = Constraints(fixed=frozenset({weight}))
    inner = next(group for group in bert.prunable if any((m.tensor, m.axis) == weight for m in group.members))
    assert str(limits.locks(inner)) == f"no config of the model class changes {weight[0]}[0]"
    assert inner.name not in by_group(components(bert, limits))
    assert limits.locks(bert["hidden"]) is None
    recomputed = Constraints(recomputed=frozenset({weight[0]}))
    assert "the model class computes" in str(recomputed.locks(inner))


def test_axes_tied_by_hand_shrink_by_one_ratio(bert: Groups) -> None:
    first = ("bert.encoder.layer.0.intermediate.dense.weight", 0)
    second = ("bert.encoder.layer.1.intermediate.dense.weight", 0)
    hidden = ("bert.embeddings.LayerNorm.weight", 0)
    found = components(bert, Constraints(ratios=[{first, second, hidden}]))
    (component,) = [found for found in found if "hidden" in found.groups]
    assert len(component.groups) == 3
    for _, counts in component.options:
        assert {count * 32 for name, count in counts.items() if name == "hidden"} == {
            32 * count * 32 // 48 for name, count in counts.items() if name != "hidden"
        }
    assert len(component.options) == 16  # 48 : 32, so three and two at a time


def test_a_width_that_must_be_a_multiple_of_the_heads_is_one(bert: Groups) -> None:
    hidden = ("bert.embeddings.LayerNorm.weight", 0)
    found = by_group(components(bert, Constraints(multiples=[({hidden}, 4)]), drop_heads=True))
    for _, counts in found["hidden"].options:
        assert counts["hidden"] % counts[f"{LAYER}.heads"] == 0


def test_an_axis_in_no_tie_keeps_no_width_from_those_that_are() -> None:
    """ConvBERT's kernels count heads times taps, which no width of the class follows: half of it has half of those."""
    model, inputs = zoo.model_of(zoo.ZOO["convbert"]), zoo.ZOO["convbert"].inputs(5, 13)
    traced = api.capture(model, inputs)
    found = by_group(components(analyse(traced), api.constraints(model, traced)))["hidden"]
    ratios = [ratio for ratio, _ in found.options]
    assert ratios == [counts["hidden"] / 64 for _, counts in found.options]
    assert 0.5 in ratios
    assert max(wide - narrow for wide, narrow in itertools.pairwise(ratios)) <= 1 / 16


def test_a_fused_projection_offers_the_products_of_its_parts() -> None:
    groups = analyse(traced_of("gpt2"))
    found = by_group(components(groups, Constraints()))
    component = found["transformer.h.0.attn.heads"]
    assert {"transformer.h.0.attn.c_attn.qk", "transformer.h.0.attn.value"} < set(component.groups)
    for ratio, counts in component.options:
        sizes = [prod((counts["transformer.h.0.attn.heads"], counts[n])) / 32 for n in counts if n[-5:] != "heads"]
        assert max(sizes) == ratio


def test_layers_that_share_heads_are_one_component() -> None:
    groups = analyse(traced_of("t5"))
    component = by_group(components(groups, Constraints()))["encoder.block.heads"]
    assert sum(name.endswith(".qk") for name in component.groups) == 2  # one position bias for both layers


def test_equal_layers_share_their_options(bert: Groups) -> None:
    found = by_group(components(bert, Constraints()))
    first, second = (found[f"bert.encoder.layer.{i}.inner"] for i in (0, 1))
    assert first.options.table is second.options.table
    assert first.options[5][1].keys() != second.options[5][1].keys()
