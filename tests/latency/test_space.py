"""The widths there are: equal layers together, and only what the class can express."""

from __future__ import annotations

import numpy as np
import pytest
from models import model_of, traced_of
from timing import space_of

from fxprune import api
from fxprune.groups import analyse, byproducts


@pytest.mark.parametrize("name", ["bert", "llama_gqa", "t5"])
def test_every_group_that_may_be_cut_has_one_kind(name: str) -> None:
    space = space_of(name, loadable=False)
    names = [name for kind in space.kinds for name in kind.groups]
    assert sorted(names) == sorted(group.name for group in analyse(traced_of(name)).prunable)
    assert space.counts(space.dense) == {name: space.groups[name].size for name in names}


def test_a_loadable_bert_may_have_any_heads_times_dims_that_give_its_width() -> None:
    space = space_of("bert", min_keep=0.0)
    lead = space.families[0]
    place = {kind.role: i for i, kind in enumerate(lead.kinds)}
    heads, dims, hidden = (lead.counts[:, place[role]] for role in ("heads", "qk", "hidden"))
    assert (heads * dims == hidden).all()
    assert (lead.counts[:, place["qk"]] == lead.counts[:, place["value"]]).all()
    size = {role: lead.kinds[i].size for role, i in place.items()}
    every = {(h, d) for h in range(1, size["heads"] + 1) for d in range(1, size["qk"] + 1)}
    assert {(int(h), int(d)) for h, d in zip(heads, dims, strict=True)} == every


@pytest.mark.parametrize("name", ["bert", "llama_gqa", "t5"])
def test_what_may_be_chosen_is_what_a_config_can_express(name: str) -> None:
    from fxprune.deploy.config_solver import solve_config
    from fxprune.student import Student
    from fxprune.unit_scores import random_units

    traced = traced_of(name)
    limits = api.constraints(model_of(name), traced)
    space = space_of(name)
    assert limits.ratios
    for widths in space.draw(2, seed=3):
        student = Student(traced_of(name), free_outputs=byproducts(traced))
        student.cut_to(space.counts(widths), random_units(student.groups))
        shapes = {name: tuple(tensor.shape) for name, tensor in student.traced.state_dict().items()}
        hints = {kind.size: {n} for kind, n in zip(space.kinds, widths, strict=True)}
        assert solve_config(type(model_of(name)), model_of(name).config, shapes, hints=hints) is not None


def test_layers_are_counted_together_and_named_once() -> None:
    kinds = {kind.role: kind for kind in space_of("bert").kinds}
    assert kinds["heads"].name == "bert.encoder.layer.*.attention.heads"
    assert len(kinds["heads"].groups) == 2


def test_no_group_is_starved() -> None:
    space = space_of("bert", min_keep=0.5)
    for family in space.families:
        assert (family.counts >= np.ceil(0.5 * np.array([kind.size for kind in family.kinds]))).all()


def test_round_to_holds_where_the_dense_size_is_a_multiple() -> None:
    space = space_of("bert", round_to=4)
    for i, kind in enumerate(space.kinds):
        if kind.size % 4 == 0 and kind.role != "heads":
            counts = np.concatenate(
                [family.counts[:, family.kinds.index(kind)] for family in space.families if kind in family.kinds]
            )
            assert (counts % 4 == 0).all(), (i, kind)


def test_widths_are_drawn_from_all_over_the_same_ones_every_time() -> None:
    space = space_of("bert")
    drawn = space.draw(12)
    assert drawn == space.draw(12)
    assert len(drawn) > 8
    hidden = [widths[0] for widths in drawn]
    assert min(hidden) < 0.4 * space.dense[0] < 0.8 * space.dense[0] < max(hidden)
