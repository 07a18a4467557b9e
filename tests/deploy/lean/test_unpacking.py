"""Products that are taken apart become a product for each part."""

from __future__ import annotations

import pytest

from fxprune.deploy.lean import make_lean
from fxprune.deploy.lean.unpacking import unpack_products

SPLIT = """
graph (float[n, 4, 6] x, float[6, 48] ww, float[48] wbias) => (float[n, 4, 16] out)
  <int64[3] three = {16, 16, 16}> {
  product = MatMul(x, ww)
  biased = Add(product, wbias)
  a, b, c = Split<axis: int = -1>(biased, three)
  ab = Mul(a, b)
  out = Mul(ab, c)
}
"""
MADE = {"MatMul": 3, "Add": 3, "Mul": 2}
KEPT = {"MatMul": 1, "Add": 1, "Split": 1, "Mul": 2}
VIEWED = """
graph (float[n, 4, 6] x, float[6, 96] ww, float[96] wbias) => (float[n, 2, 4, 16] out)
  <int64[5] shape = {0, 0, LAYOUT}, int64[1] places = {AXIS}, int64[1] first = {0}, int64[1] second = {1},
   int64[1] third = {2}, int64 zero = {0}, int64 one = {1}> {
  product = MatMul(x, ww)
  biased = Add(wbias, product)
  viewed = Reshape(biased, shape)
  READ
  out = Mul(q, k)
}
"""
SLICED = """qs = Slice(viewed, first, second, places)
  ks = Slice(viewed, second, third, places)
  q1 = Squeeze(qs, places)
  k1 = Squeeze(ks, places)
  q = Transpose<perm: ints = [0, 2, 1, 3]>(q1)
  k = Transpose<perm: ints = [0, 2, 1, 3]>(k1)"""
TURNED = """turned = Transpose<perm: ints = [2, 0, 3, 1, 4]>(viewed)
  q = Gather<axis: int = 0>(turned, zero)
  k = Gather<axis: int = 0>(turned, one)"""


def viewed(read: str, layout: str = "3, 2, 16", axis: int = 2) -> str:
    return VIEWED.replace("READ", read).replace("LAYOUT", layout).replace("AXIS", str(axis))


def test_a_split_is_gone_and_each_part_has_its_bias(written):
    assert written(SPLIT, n=3).after(unpack_products) == MADE


def test_graphs_that_compute_one_row_at_once_keep_it(written):
    graph = written(SPLIT, n=3)
    make_lean(graph.model, stepping=True)
    assert [node.op_type for node in graph.model.graph].count("Split") == 1
    make_lean(graph.model)
    assert [node.op_type for node in graph.model.graph].count("Split") == 0


def test_without_a_bias(written):
    text = SPLIT.replace("  biased = Add(product, wbias)\n", "").replace("(biased, three)", "(product, three)")
    assert written(text, n=3).after(unpack_products) == {"MatMul": 3, "Mul": 2}


def test_parts_that_nothing_reads_are_not_computed(written):
    text = SPLIT.replace("out = Mul(ab, c)", "out = Mul(ab, b)")
    assert written(text, n=3).after(unpack_products) == {"MatMul": 2, "Add": 2, "Mul": 2}


@pytest.mark.parametrize(("layout", "axis"), [("3, 2, 16", 2), ("2, 3, 16", 3)])
def test_slices_of_a_view_wherever_the_parts_are(written, layout, axis):
    ops = written(viewed(SLICED, layout, axis), n=3).after(unpack_products)
    assert ops == {"MatMul": 2, "Add": 2, "Reshape": 2, "Transpose": 2, "Mul": 1}


def test_rows_gathered_from_a_turned_view(written):
    ops = written(viewed(TURNED), n=3).after(unpack_products)
    assert ops == {"MatMul": 2, "Add": 2, "Reshape": 2, "Transpose": 2, "Mul": 1}


def test_parts_of_parts_stay_parts(written):
    text = SPLIT.replace("ab = Mul(a, b)", "a1, a2 = Split<axis: int = -1, num_outputs: int = 2>(a)\n  ab = Mul(a, b)")
    text = text.replace(
        "out = Mul(ab, c)", "both = Concat<axis: int = -1>(a2, a1)\n  abc = Mul(ab, c)\n  out = Mul(abc, both)"
    )
    assert written(text, n=3).after(unpack_products) == MADE | {"Split": 1, "Concat": 1, "Mul": 3}


@pytest.mark.parametrize(
    ("text", "ops"),
    {
        "something reads all of it": (
            SPLIT.replace("ab = Mul(a, b)", "all = ReduceMax(biased)\n  some = Mul(a, all)\n  ab = Mul(some, b)"),
            KEPT | {"ReduceMax": 1, "Mul": 3},
        ),
        "the weight is read twice": (
            SPLIT.replace("ab = Mul(a, b)", "most = ReduceMax(ww)\n  some = Mul(a, most)\n  ab = Mul(some, b)"),
            KEPT | {"ReduceMax": 1, "Mul": 3},
        ),
        "the rows are parted": (
            SPLIT.replace("axis: int = -1", "axis: int = 1")
            .replace("{16, 16, 16}", "{1, 1, 2}")
            .replace("c = Split", "cc = Split")
            .replace("ab = Mul(a, b)", "c = ReduceMax<keepdims: int = 1>(cc)\n  ab = Mul(a, b)")
            .replace("float[n, 4, 16] out", "float[n, 1, 48] out"),
            KEPT | {"ReduceMax": 1},
        ),
        "parts are narrow": (SPLIT.replace("48]", "24]").replace("16", "8"), KEPT),
        "slices overlap": (
            viewed(SLICED.replace("second, third", "first, second")),
            {"MatMul": 1, "Add": 1, "Reshape": 1, "Slice": 2, "Squeeze": 2, "Transpose": 2, "Mul": 1},
        ),
    }.values(),
)
def test_what_is_left_alone(written, text, ops):
    assert written(text, n=3).after(unpack_products) == ops
