"""Residual sums in front of a norm become one op."""

from __future__ import annotations

from fxprune.deploy.lean.sums import sum_before_norms

NORM = """
graph (float[n, 6] x, float[n, 6] y, float[6, 6] wm, float[6] wb, float[6] wscale, float[6] wshift)
  => (float[n, 6] out) {
  product = MatMul(x, wm)
  biased = Add(product, wb)
  total = Add(biased, y)
  out = LayerNormalization<axis: int = -1>(total, wscale, wshift)
}
"""


def test_bias_and_residual_are_added_in_one_op(written):
    assert written(NORM, n=5).after(sum_before_norms) == {"MatMul": 1, "Sum": 1, "LayerNormalization": 1}


def test_a_sum_that_others_read_is_kept_for_them(written):
    text = NORM.replace("out = LayerN", "normed = LayerN").replace(
        "}\n", "  both = Mul(biased, total)\n  out = Mul(normed, both)\n}"
    )
    assert written(text, n=5).after(sum_before_norms) == {
        "MatMul": 1,
        "Add": 1,
        "Sum": 1,
        "LayerNormalization": 1,
        "Mul": 2,
    }


def test_an_addition_that_is_normed_by_nothing_stays(written):
    text = "graph (float[n, 6] x, float[n, 6] y) => (float[n, 6] out) { out = Add(x, y) }"
    assert written(text, n=5).after(sum_before_norms) == {"Add": 1}
