"""Attention reads and writes (batch, length, heads x size)."""

from __future__ import annotations

import pytest

from fxprune.deploy.lean.heads import fold_heads

SPLIT = """
  to_{0} = Constant<value_ints: ints = [0, 0, {1}, {2}]>()
  {0}4 = Reshape({0}, to_{0})
  {0}t = Transpose<perm: ints = [0, 2, 1, 3]>({0}4)
"""
JOIN = """
  yt = Transpose<perm: ints = [0, 2, 1, 3]>(y4)
  to_y = Constant<value_ints: ints = [0, 0, 28]>()
  out = Reshape(yt, to_y)
}
"""


def graph(keys: int = 4, *, attention: str = "y4 = Attention<scale: float = 0.3>(qt, kt, vt)", join: str = JOIN) -> str:
    head = (
        f"graph (float[b, s, 20] q, float[b, s, {keys * 5}] k, float[b, s, {keys * 7}] v) => (float[b, s, 28] out) {{"
    )
    return head + SPLIT.format("q", 4, 5) + SPLIT.format("k", keys, 5) + SPLIT.format("v", keys, 7) + attention + join


def test_no_transpose_is_left(written):
    done = written(graph(), b=2, s=3).after(fold_heads)
    assert done == {"Attention": 1}


def test_grouped_queries_keep_their_keys(written):
    assert written(graph(2), b=2, s=3).after(fold_heads) == {"Attention": 1}


REPEAT = """
  two_{0} = Constant<value_ints: ints = [2]>()
  {0}u = Unsqueeze({0}t, two_{0})
  five_{0} = Constant<value_ints: ints = [1, 2, 2, 1, 1]>()
  {0}e = Expand({0}u, five_{0})
  flat_{0} = Constant<value_ints: ints = [0, 4, -1, {1}]>()
  {0}r = Reshape({0}e, flat_{0})
"""


def test_heads_repeated_for_grouped_queries_are_not_copied(written):
    repeated = REPEAT.format("k", 5) + REPEAT.format("v", 7)
    text = graph(2, attention=repeated + "y4 = Attention<scale: float = 0.3>(qt, kr, vr)")
    sizes = [
        f"float[b, 2, 2, s, {size}] {name}e, float[b, 4, s, {size}] {name}r" for name, size in (("k", 5), ("v", 7))
    ]
    text = text.replace(" {", f" <{', '.join(sizes)}> {{", 1)
    assert written(text, b=2, s=3).after(fold_heads) == {"Attention": 1}


def test_heads_repeated_once_are_not_copied_either(written):
    """What a cut to one query a key leaves: the exporter drops the Expand, and keeps what is around it."""
    repeated = "".join(
        line.replace(f"{name}e,", f"{name}u,") + "\n"
        for name, size in (("k", 5), ("v", 7))
        for line in REPEAT.format(name, size).splitlines()
        if "five" not in line
    )
    text = graph(4, attention=repeated + "y4 = Attention<scale: float = 0.3>(qt, kr, vr)")
    sizes = [
        f"float[b, 4, 1, s, {size}] {name}u, float[b, 4, s, {size}] {name}r" for name, size in (("k", 5), ("v", 7))
    ]
    text = text.replace(" {", f" <{', '.join(sizes)}> {{", 1)
    assert written(text, b=2, s=3).after(fold_heads) == {"Attention": 1}


def test_a_result_that_is_read_on_four_axes_is_split_again(written):
    join = "  negative = Neg(y4)\n" + JOIN.replace("(y4)", "(negative)")
    done = written(graph(join=join), b=2, s=3).after(fold_heads)
    assert (done["Attention"], done["Transpose"], done["Reshape"]) == (1, 2, 2)


@pytest.mark.parametrize("perm", ["0, 1, 2, 3", "0, 2, 1, 3"])
def test_only_the_transpose_that_splits_heads_is_seen_through(written, perm):
    turned = f"qx = Transpose<perm: ints = [{perm}]>(qt)\n  qy = Transpose<perm: ints = [{perm}]>(qx)\n  "
    text = graph(attention=turned + "y4 = Attention<scale: float = 0.3>(qy, kt, vt)")
    assert written(text, b=2, s=4).after(fold_heads)["Attention"] == 1
