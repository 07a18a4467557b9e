"""Masks are computed from what decides them, and only from that."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common
import pytest

from fxprune.deploy.lean.masks import simplify_masks, spread_masks

HEAD = """
graph (bool[b, s] pad) => (bool[b, 1, s, s] out)
<int64[b] b0, int64[s] s0, int64[b, 1, 1, 1] b4, int64[1, 1, 1, s] s4, bool[b, 1, 1, s] found> {
  zero = Constant<value_int: int = 0>()
  one = Constant<value_int: int = 1>()
  rows1 = Shape<start: int = 0, end: int = 1>(pad)
  length1 = Shape<start: int = 1, end: int = 2>(pad)
  rows = Squeeze(rows1)
  length = Squeeze(length1)
  b0 = Range(zero, rows, one)
  s0 = Range(zero, length, one)
"""
BODY = """
  last3 = Constant<value_ints: ints = [1, 2, 3]>()
  first3 = Constant<value_ints: ints = [0, 1, 2]>()
  minus = Constant<value_ints: ints = [-1]>()
  b4 = Unsqueeze(b0, last3)
  s4 = Unsqueeze(s0, first3)
  both = Max(b4, s4)
  size = Shape(both)
  be = Expand(b4, size)
  se = Expand(s4, size)
  b5 = Unsqueeze(be, minus)
  s5 = Unsqueeze(se, minus)
  places = Concat<axis: int = -1>(b5, s5)
  found = GatherND(pad, places)
  q = Constant<value_ints: ints = [0, 1, 3]>()
  query = Unsqueeze(s0, q)
  holds = {compare}
  out = And(holds, found)
}
"""


def text(compare: str = "GreaterOrEqual(query, zero)") -> str:
    return (HEAD + BODY).replace("{compare}", compare)


def test_gathering_by_own_places_is_no_gather(written):
    done = written(text(), b=3, s=5).after(simplify_masks)
    assert "GatherND" not in done


def test_a_comparison_that_always_holds_is_dropped(written):
    done = written(text(), b=3, s=5).after(simplify_masks)
    assert "And" not in done


def test_a_comparison_that_may_fail_stays(written):
    assert written(text(compare="GreaterOrEqual(query, one)"), b=3, s=5).after(simplify_masks)["And"] == 1
    assert written(text(compare="LessOrEqual(query, s4)"), b=3, s=5).after(simplify_masks)["And"] == 1


def test_rows_gathered_from_elsewhere_are_gathered(written):
    shifted = text().replace("se = Expand(s4, size)", "sx = Sub(s4, s4)\n  se = Expand(sx, size)")
    assert written(shifted, b=3, s=5).after(simplify_masks)["GatherND"] == 1


TWICE = """
graph (float[b, s, 8] x, {kind}[b, 1, {rows}, s] pad) => (float[b, s, 8] out) {
  half = Attention<q_num_heads: int = 2, kv_num_heads: int = 2>(x, x, x, {mask})
  sum = Add(half, x)
  out = Attention<q_num_heads: int = 2, kv_num_heads: int = 2>(sum, sum, x, {mask})
}
"""
EVERY = """{
  length = Shape<start: int = 1, end: int = 2>(x)
  one = Constant<value_ints: ints = [1]>()
  shape = Concat<axis: int = 0>(length, one)
  every = Expand(pad, shape)"""


def attending(kind: str, rows: str, mask: str = "pad") -> str:
    text = TWICE.replace("{kind}", kind).replace("{rows}", rows).replace("{mask}", mask)
    return text if mask == "pad" else text.replace("{\n", EVERY + "\n", 1)


@pytest.mark.parametrize("kind", ["bool", "float"])
def test_a_mask_of_one_row_is_repeated_once_for_all(written, kind):
    """ONNX Runtime does not run the graph as it is, so what it must compute is written out."""
    graph = written(attending(kind, "1"), b=3, s=5)
    spread_masks(graph.model.graph)
    common.RemoveUnusedNodesPass()(graph.model)
    proto = ir.to_proto(graph.model)
    onnx.checker.check_model(proto)
    want = written(attending(kind, "1", "every"), b=3, s=5)
    np.testing.assert_allclose(graph._run(proto), want._run(want.before), rtol=1e-5, atol=1e-5)
    assert [node.op_type for node in proto.graph.node].count("Expand") == 1


def test_a_mask_of_all_rows_stays(written):
    assert written(attending("bool", "s"), b=3, s=5).after(spread_masks) == {"Attention": 2, "Add": 1}
