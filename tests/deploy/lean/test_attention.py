"""Attention that is written out becomes one op."""

from __future__ import annotations

import pytest

from fxprune.deploy.lean.attention import fold_attention

HEADS = """
  to_{0} = Constant<value_ints: ints = [0, 0, 4, {1}]>()
  {0}4 = Reshape({0}, to_{0})
  {0}t = Transpose<perm: ints = [0, 2, 1, 3]>({0}4)
"""
WRITTEN_OUT = (
    "graph (float[b, s, 20] q, float[b, s, 20] k, float[b, s, 28] v, float[b, 1, s, s] pad, float[1, 4, s, s] near)"
    " => (float[b, 4, s, 7] out) {"
    + HEADS.format("q", 5)
    + HEADS.format("k", 5)
    + HEADS.format("v", 7)
    + """
  turned = Transpose<perm: ints = [0, 1, 3, 2]>(kt)
  product = MatMul(qt, turned)
  root = Constant<value_float: float = 2.5>()
  scaled = Div(product, root)
  masked = Add(scaled, pad)
  weights = Softmax<axis: int = -1>(masked)
  out = MatMul(weights, vt)
}
"""
)
DONE = {"Reshape": 3, "Transpose": 3, "Attention": 1}


def ops_of(graph):
    ops = dict(graph.after(fold_attention))
    ops.pop("Constant", None)
    return ops


@pytest.mark.parametrize(
    ("text", "more"),
    {
        "divided and masked": (WRITTEN_OUT, {}),
        "multiplied": (WRITTEN_OUT.replace("Div(product, root)", "Mul(root, product)"), {}),
        "not scaled": (WRITTEN_OUT.replace("  scaled = Div(product, root)\n", "").replace("scaled", "product"), {}),
        "not masked": (
            WRITTEN_OUT.replace("  masked = Add(scaled, pad)\n", "").replace("-1>(masked)", "3>(scaled)"),
            {},
        ),
        "two masks": (
            WRITTEN_OUT.replace("masked = Add(scaled, pad)", "some = Add(scaled, near)\n  masked = Add(some, pad)"),
            {"Add": 1},
        ),
        "keys turned and split at once": (
            WRITTEN_OUT.replace("Transpose<perm: ints = [0, 1, 3, 2]>(kt)", "Transpose<perm: ints = [0, 2, 3, 1]>(k4)"),
            {},
        ),
    }.values(),
)
def test_it_is_one_op(written, text, more):
    assert ops_of(written(text, b=2, s=3)) == DONE | more


def test_two_masks_of_one_row_are_one(written):
    """What their sum is said to be must be what it is."""
    text = WRITTEN_OUT.replace("Add(scaled, pad)", "Add(some, pad)").replace(
        "  masked =", "  some = Add(scaled, near)\n  masked ="
    )
    graph = written(text.replace("float[1, 4, s, s] near", "float[1, 1, s, s] near"), b=2, s=3)
    assert ops_of(graph) == DONE | {"Add": 1}
    added = next(node for node in graph.model.graph if node.op_type == "Add")
    assert [size if isinstance(size, int) else size.value for size in added.outputs[0].shape] == ["b", 1, "s", "s"]


LEFT = {"Reshape": 3, "Transpose": 4, "MatMul": 2, "Softmax": 1, "Add": 1, "Div": 1}


@pytest.mark.parametrize(
    ("text", "more"),
    {
        "the weights are read twice": (
            WRITTEN_OUT.replace(
                "out = MatMul(weights, vt)", "most = ReduceMax(weights)\n  o = MatMul(weights, vt)"
            ).replace("o = MatMul(weights, vt)", "o = MatMul(weights, vt)\n  out = Mul(o, most)"),
            {"ReduceMax": 1, "Mul": 1},
        ),
        "the scores are read twice": (
            WRITTEN_OUT.replace(
                "out = MatMul(weights, vt)", "most = ReduceMax(product)\n  o = MatMul(weights, vt)"
            ).replace("o = MatMul(weights, vt)", "o = MatMul(weights, vt)\n  out = Mul(o, most)"),
            {"ReduceMax": 1, "Mul": 1},
        ),
        "the mask is scaled": (
            WRITTEN_OUT.replace("Div(product, root)", "Add(product, pad)").replace(
                "Add(scaled, pad)", "Div(scaled, root)"
            ),
            {},
        ),
        "divided by the scores": (WRITTEN_OUT.replace("Div(product, root)", "Div(root, product)"), {}),
        "the sums are over queries": (WRITTEN_OUT.replace("axis: int = -1>(masked)", "axis: int = 2>(masked)"), {}),
        "keys of one row for all": (
            WRITTEN_OUT.replace("float[b, s, 20] k,", "float[1, s, 20] k,"),
            {},
        ),
        "a mask of one column": (
            WRITTEN_OUT.replace("float[b, 1, s, s] pad", "float[b, 1, s, 1] pad"),
            {},
        ),
    }.values(),
)
def test_what_is_left_alone(written, text, more):
    assert ops_of(written(text, b=2, s=3)) == LEFT | more
