"""Residual sums in front of a norm become differences, or one sum."""

from __future__ import annotations

import pytest

from fxprune.deploy.lean.sums import subtract_before_norms

NORM = """
graph (float[n, 6] x, float[n, 6] y, float[6, 6] wm, float[6, 6] wother, float[6] wb, float[6] wscale, float[6] wshift)
  => (float[n, 6] out) {
  product = MatMul(x, wm)
  biased = Add(product, wb)
  total = Add(biased, y)
  out = LayerNormalization<axis: int = -1>(total, wscale, wshift)
}
"""
NORMED = {"LayerNormalization": 1}
BOTH = "other = MatMul(y, wother)\n  total = Add(biased, other)"


def test_a_product_is_negated_and_subtracted_with_its_bias(written):
    assert written(NORM, n=5).after(subtract_before_norms) == {"MatMul": 1, "Add": 1, "Sub": 1} | NORMED


@pytest.mark.parametrize("total", ["total = Add(y, biased)", "total = Add(biased, y)"])
def test_the_order_does_not_matter(written, total):
    text = NORM.replace("total = Add(biased, y)", total)
    assert written(text, n=5).after(subtract_before_norms)["Sub"] == 1


def test_of_two_products_one_is_negated(written):
    text = NORM.replace("total = Add(biased, y)", BOTH)
    assert written(text, n=5).after(subtract_before_norms) == {"MatMul": 2, "Add": 1, "Sub": 1} | NORMED


def test_two_products_are_taken_from_a_third_value(written):
    text = NORM.replace("total = Add(biased, y)", BOTH.replace("total", "half") + "\n  total = Add(half, y)")
    assert written(text, n=5).after(subtract_before_norms) == {"MatMul": 2, "Add": 1, "Sub": 2} | NORMED


def test_a_product_may_be_of_one_row_for_all(written):
    text = NORM.replace("graph (float[n, 6] x", "graph (float[1, 6] x")
    assert written(text, n=5).after(subtract_before_norms)["Sub"] == 1


def test_a_bias_may_be_of_more_rows_than_the_product(written):
    text = NORM.replace("graph (float[n, 6] x", "graph (float[1, 6] x").replace("float[6] wb", "float[5, 6] wb")
    assert written(text, n=5).after(subtract_before_norms)["Sub"] == 1


def test_a_sum_that_others_read_is_kept_for_them(written):
    text = NORM.replace("out = LayerN", "normed = LayerN").replace(
        "}\n", "  both = Mul(y, total)\n  out = Mul(normed, both)\n}"
    )
    assert written(text, n=5).after(subtract_before_norms) == {"MatMul": 1, "Add": 1, "Sub": 1, "Mul": 2} | NORMED


@pytest.mark.parametrize(
    ("text", "ops"),
    {
        "the weight is read twice": (
            NORM.replace("out = LayerN", "normed = LayerN").replace("}\n", "  out = MatMul(normed, wm)\n}"),
            {"MatMul": 2, "Sum": 1},
        ),
        "the product is read twice": (
            NORM.replace("out = LayerN", "normed = LayerN").replace("}\n", "  out = Mul(normed, product)\n}"),
            {"MatMul": 1, "Sum": 1, "Mul": 1},
        ),
        "there is no weight": (NORM.replace("MatMul(x, wm)", "Relu(x)"), {"Relu": 1, "Sum": 1}),
        "a value is added twice": (NORM.replace("Add(biased, y)", "Add(biased, product)"), {"MatMul": 1, "Sum": 1}),
        "nothing is left to subtract from": (
            NORM.replace("Add(biased, y)", "Add(biased, wshift)"),
            {"MatMul": 1, "Sum": 1},
        ),
    }.values(),
)
def test_where_no_weight_can_be_negated_it_is_one_sum(written, text, ops):
    assert written(text, n=5).after(subtract_before_norms) == ops | NORMED


def test_an_addition_that_is_normed_by_nothing_stays(written):
    text = "graph (float[n, 6] x, float[n, 6] y) => (float[n, 6] out) { out = Add(x, y) }"
    assert written(text, n=5).after(subtract_before_norms) == {"Add": 1}
