"""Work: amounts that follow from the axis types, for all widths at once."""

from __future__ import annotations

import numpy as np
import pytest
from models import traced_of
from timing import AT, space_of

from fxprune.flops import FlopBudget
from fxprune.latency.search import counts_of
from fxprune.latency.work import Work


@pytest.mark.parametrize("name", ["bert", "t5"])
def test_matrix_products_and_attention_are_the_flops(name: str) -> None:
    traced, space = traced_of(name), space_of(name)
    work = Work.of(traced, space, AT)
    widths = space.draw(3)[1]
    counts = space.counts(widths)
    found = {key: work.sizes.products(products, counts) for key, products in (work.classes | work.padded).items()}
    products = sum(found.get(key, 0) for key in ("products", "queries x keys", "weights x values"))
    flops = FlopBudget.of(traced, space.groups, batch=AT.batch, length=AT.length)
    assert 2 * products == flops.count(counts)


def test_many_widths_at_once_are_the_same_as_one_by_one() -> None:
    space = space_of("bert")
    work = Work.of(traced_of("bert"), space, AT)
    drawn = np.array(space.draw(6))
    together = work.amounts(counts_of(space, drawn), len(drawn))
    alone = np.concatenate([work.amounts(space.counts(widths)) for widths in drawn])
    np.testing.assert_allclose(together, alone)


@pytest.mark.parametrize("name", ["bert", "llama_gqa"])
def test_wider_is_never_less_work(name: str) -> None:
    space = space_of(name)
    work = Work.of(traced_of(name), space, AT)
    base = list(space.draw(5)[2])
    for i, size in enumerate(space.dense):
        wider = [*base[:i], min(size, base[i] + 1), *base[i + 1 :]]
        assert (work.amounts(space.counts(wider)) >= work.amounts(space.counts(base))).all()


def test_pointwise_work_is_sorted_by_what_it_runs_over() -> None:
    space = space_of("bert")
    classes = Work.of(traced_of("bert"), space, AT).classes
    assert "numbers over hidden" in classes
    assert "numbers over bert.encoder.layer.*.inner" in classes
    assert "scores" in classes
