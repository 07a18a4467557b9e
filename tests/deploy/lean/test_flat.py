"""Products between reshapes keep the axes of what is around them."""

from __future__ import annotations

import pytest

from fxprune.deploy.lean.flat import keep_axes

GEMM = """
graph (float[n, 4, 6] x, float[6, 8] ww, float[8] wbias) => (float[n, 4, 8] out)
  <int64[2] joined = {-1, 6}, int64[3] parted = {-1, 4, 8}> {
  rows = Reshape(x, joined)
  product = Gemm(rows, ww, wbias)
  out = Reshape(product, parted)
}
"""
KEPT = {"Reshape": 2, "Gemm": 1}


def test_it_becomes_a_product_and_a_sum(written):
    assert written(GEMM, n=3).after(keep_axes) == {"MatMul": 1, "Add": 1}


def test_without_a_bias_there_is_no_sum(written):
    assert written(GEMM.replace(", wbias)", ")"), n=3).after(keep_axes) == {"MatMul": 1}


def test_a_weight_of_out_and_in_is_turned(written):
    text = GEMM.replace("float[6, 8] ww", "float[8, 6] ww").replace("Gemm(", "Gemm<transB: int = 1>(")
    assert written(text, n=3).after(keep_axes) == {"MatMul": 1, "Add": 1}


def test_axes_may_be_joined_in_steps(written):
    text = GEMM.replace(
        "rows = Reshape(x, joined)", "some = Reshape(x, halves)\n  rows = Reshape(some, joined)"
    ).replace("<int64", "<int64[4] halves = {0, 0, 2, 3}, int64")
    assert written(text, n=3).after(keep_axes) == {"MatMul": 1, "Add": 1}


@pytest.mark.parametrize(
    ("text", "ops"),
    {
        "it is scaled": (GEMM.replace("Gemm(", "Gemm<alpha: float = 0.5>("), KEPT),
        "the rows are turned": (
            GEMM.replace("Gemm(", "Gemm<transA: int = 1>(").replace("{-1, 6}", "{6, -1}"),
            KEPT,
        ),
        "the rows go to other axes": (
            GEMM.replace("{-1, 4, 8}", "{4, -1, 8}").replace("[n, 4, 8] o", "[4, n, 8] o"),
            KEPT,
        ),
        "the rows are read as they are": (
            GEMM.replace("out = Reshape(product, parted)", "sums = Relu(product)\n  out = Reshape(sums, parted)"),
            KEPT | {"Relu": 1},
        ),
        "the bias has rows": (GEMM.replace("float[8] wbias", "float[1, 8] wbias"), KEPT),
        "another op reads a weight that would be turned": (
            GEMM.replace("float[6, 8] ww", "float[8, 6] ww")
            .replace("Gemm(", "Gemm<transB: int = 1>(")
            .replace(
                "out = Reshape(product, parted)",
                "some = Reshape(product, parted)\n  most = ReduceMax(ww)\n  out = Mul(some, most)",
            ),
            KEPT | {"ReduceMax": 1, "Mul": 1},
        ),
        "there is no weight": (GEMM.replace("float[6, 8] ww", "float[6, 8] y").replace("rows, ww", "rows, y"), KEPT),
    }.values(),
)
def test_what_is_left_alone(written, text, ops):
    assert written(text, n=3).after(keep_axes) == ops
