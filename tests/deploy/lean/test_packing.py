"""Projections of one value in front of an attention become one product."""

from __future__ import annotations

from fxprune.deploy.lean.packing import pack_projections

ATTENTION = """
graph (float[b, s, 6] x, float[b, s, 6] y, float[6, 8] wq, float[6, 4] wkk, float[6, 12] wvvv, float[8] wbias)
  => (float[b, s, 24] out) {
  q0 = MatMul(x, wq)
  q = Add(wbias, q0)
  k = MatMul(x, wkk)
  v = MatMul(x, wvvv)
  out = Attention<q_num_heads: int = 4, kv_num_heads: int = 2>(q, k, v)
}
"""


def test_products_of_different_widths_become_one(written):
    done = written(ATTENTION, b=3, s=5).after(pack_projections)
    assert done == {"MatMul": 1, "Add": 1, "Split": 1, "Attention": 1}


def test_keys_and_values_of_another_sequence_are_packed_among_themselves(written):
    text = ATTENTION.replace("k = MatMul(x", "k = MatMul(y").replace("v = MatMul(x", "v = MatMul(y")
    assert written(text, b=3, s=5).after(pack_projections) == {"MatMul": 2, "Add": 1, "Split": 1, "Attention": 1}


def test_a_product_that_others_read_stays_by_itself(written):
    text = ATTENTION.replace("out = Att", "mixed = Att").replace("}\n", "  out = Add(mixed, v2)\n}")
    text = text.replace("  out = Add", "  v2 = Concat<axis: int = -1>(v, v)\n  out = Add")
    done = written(text, b=3, s=5).after(pack_projections)
    assert (done["MatMul"], done["Split"]) == (2, 1)


def test_a_weight_that_is_read_elsewhere_is_not_stored_twice(written):
    text = ATTENTION.replace("out = Att", "mixed = Att").replace("}\n", "  out = Add(mixed, more)\n}")
    text = text.replace("  out = Add", "  v2 = MatMul(y, wvvv)\n  more = Concat<axis: int = -1>(v2, v2)\n  out = Add")
    assert written(text, b=3, s=5).after(pack_projections)["MatMul"] == 4


def test_layers_that_share_their_weights_share_the_packed_one(written):
    again = """
  q2 = MatMul(y, wq)
  k2 = MatMul(y, wkk)
  v2 = MatMul(y, wvvv)
  other = Attention<q_num_heads: int = 4, kv_num_heads: int = 2>(q2, k2, v2)
  out = Add(mixed, other)
}"""
    text = ATTENTION.replace("q0 = MatMul(x, wq)\n  q = Add(wbias, q0)", "q = MatMul(x, wq)").replace(
        ", float[8] wbias", ""
    )
    graph = written(text.replace("out = Att", "mixed = Att").replace("}\n", again), b=3, s=5)
    assert graph.after(pack_projections)["MatMul"] == 2
    assert [
        value.shape for value in graph.model.graph.initializers.values() if len(value.uses()) and len(value.shape) == 2
    ] == [(6, 24)]
