"""Shape rules of the ops that compute: attention, products, reductions, norms."""

from __future__ import annotations

import torch

from fxprune.rules.layout import names, text
from fxprune.rules.table import Applied, Call, Shape, opaque, shape_rule

aten = torch.ops.aten
ATTENTION = {"h": "heads", "e": "qk", "v": "value"}


@shape_rule(aten.scaled_dot_product_attention.default)
def attention(call: Call) -> Applied:
    """One key and value head may serve several query heads: ``(h g)`` against ``h``."""
    query, key, _value, mask = (*call.operands, None)[:4]
    assert query is not None
    assert key is not None
    grouped = call["enable_gqa"] and query[-3] != key[-3]
    h = "(h g)" if grouped else "h"
    rule = f"... {h} q! e, ... h k! e, ... h k! v, {_mask(mask, h)} -> ... {h} q! v"
    return Applied(rule, roles={**ATTENTION, "g": "queries per key"}, reason="attended over")


def _mask(mask: Shape | None, heads: str) -> str:
    if mask is None or len(mask) < 3:
        return "q! k!?"
    return f"... {'1' if mask[-3] == 1 else heads} q! k!?"


@shape_rule(aten.matmul.default)
def matmul(call: Call) -> Applied:
    """``... i k, ... k j -> ... i j``; a vector lacks its outer dimension."""
    left, right = call.operands
    assert left is not None
    assert right is not None
    a = "k" if len(left) == 1 else "... i k"
    b = "k" if len(right) == 1 else "... k j"
    out = ["..."] if max(len(left), len(right)) > 2 else []
    out += ["i"] if len(left) > 1 else []
    out += ["j"] if len(right) > 1 else []
    return Applied(f"{a}, {b} -> {' '.join(out)}")


@shape_rule(aten.addmm.default)
def addmm(call: Call) -> Applied:
    """``o, i k, k o -> i o``; what is added may have both dimensions, or one, or none."""
    return Applied(f"{_added(call.x, ['i', 'o'])}, i k, k o -> i o")


@shape_rule(aten.baddbmm.default)
def baddbmm(call: Call) -> Applied:
    """``b i j, b i k, b k j -> b i j``; what is added may lack the first dimensions."""
    rule = f"{_added(call.x, ['b', 'i', 'j'])}, b i k, b k j -> b i j"
    return Applied(rule, roles={"b": "heads", "k": "qk"})


def _added(shape: Shape, dims: list[str]) -> str:
    """A broadcast operand: its dimensions are the last of `dims`, those of size one are nobody's."""
    return " ".join("1" if size == 1 else dim for size, dim in zip(shape, dims[len(dims) - len(shape) :], strict=True))


@shape_rule(aten.linalg_solve_triangular.default)
def solve_triangular(call: Call) -> Applied:
    """``A X = B`` for X: ``... i! j!, ... i! k -> ... j! k``; ``X A = B`` has B and X transposed."""
    text = "... i! j!, ... i! k -> ... j! k" if call["left"] else "... j! i!, ... k i! -> ... k j!"
    return Applied(text, reason="a triangular system is solved over it")


@shape_rule(aten.einsum.default)
def einsum(call: Call) -> Applied:
    """The notation is einsum's own, with names instead of letters."""
    equation = call["equation"].replace(" ", "")
    left, arrow, right = equation.partition("->")
    if not arrow:
        return opaque(call, f"einsum {equation!r} without an arrow")
    ranks = [len(shape) for shape in call.operands if shape is not None]
    terms = [_spell(term, rank) for term, rank in zip(left.split(","), ranks, strict=True)]
    return Applied(f"{', '.join(terms)} -> {_spell(right, len(call.out))}")


def _spell(term: str, rank: int) -> str:
    """``b...d`` of rank 4 is ``xb e2 e1 xd``: an ellipsis, wherever it stands, is aligned at its end."""
    before, _, after = term.partition("...")
    hidden = rank - len(before) - len(after)
    dims = [*map(_letter, before), *(f"e{hidden - i}" for i in range(hidden)), *map(_letter, after)]
    return " ".join(dims)


def _letter(letter: str) -> str:
    return f"x{ord(letter)}"


@shape_rule(aten.softmax.int, aten.log_softmax.int, aten._softmax.default, aten.cumsum.default, aten.logsumexp.default)
def over_one(call: Call) -> Applied:
    """``a d! -> a d!``: every position depends on all of them."""
    dims = names(len(call.x))
    given = call["dim"]
    across = {dim % len(dims) for dim in ([given] if isinstance(given, int) else given)}
    before = [f"{name}!" if i in across else name for i, name in enumerate(dims)]
    after = dims if len(call.out) == len(call.x) else [d for i, d in enumerate(dims) if i not in across]
    if len(after) == len(dims) and call.out != call.x:
        after = ["1" if i in across else d for i, d in enumerate(dims)]
    return Applied(text(before, to=[after]), reason=f"{call.op.__name__.partition('.')[0]} runs over it")


@shape_rule(
    aten.sum.dim_IntList,
    aten.mean.dim,
    aten.var.correction,
    aten.var.dim,
    aten.std.correction,
    aten.std.dim,
    aten.linalg_vector_norm.default,
)
def reduce(call: Call) -> Applied:
    """A sum over d is ``a d -> a``; a mean is taken over what is kept, ``a d~ -> a``."""
    dims = names(len(call.x))
    given = call["dim"]
    across = set(range(len(dims))) if given in (None, []) else {d % len(dims) for d in _as_list(given)}
    before = [f"{name}{_reduction(call)}" if i in across else name for i, name in enumerate(dims)]
    after = [("1" if i in across else name) for i, name in enumerate(dims) if i not in across or call["keepdim"]]
    return Applied(text(before, to=[after]), reason="the smallest may be the one that was cut")


def _reduction(call: Call) -> str:
    """What removing positions does: nothing but remove them from a sum, move a mean, change a smallest one."""
    if call.op is aten.linalg_vector_norm.default:
        return "!" if call["ord"] < 0 else ""
    return "" if call.op is aten.sum.dim_IntList else "~"


def _as_list(value: int | list[int]) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


@shape_rule(
    aten.amax.default, aten.amin.default, aten.max.dim, aten.min.dim, aten.any.dim, aten.all.dim, aten.argmax.default
)
def extremum(call: Call) -> Applied:
    """``a d! -> a``: the largest one may be the one that was cut."""
    dims = names(len(call.x))
    given = call["dim"]
    across = set(range(len(dims))) if given in (None, []) else {d % len(dims) for d in _as_list(given)}
    before = [f"{name}!" if i in across else name for i, name in enumerate(dims)]
    after = [("1" if i in across else name) for i, name in enumerate(dims) if i not in across or call["keepdim"]]
    return Applied(text(before, to=[after] * len(call.results)), reason="a maximum runs over it")


@shape_rule(aten.layer_norm.default, aten.rms_norm.default)
def norm(call: Call) -> Applied:
    """``... d~, d?, d? -> ... d~``; `normalized_shape` may name several dimensions."""
    dims = names(len(call["normalized_shape"]))
    x = " ".join(["...", *(f"{dim}~" for dim in dims)])
    weight = " ".join(dims) + "?"
    return Applied(f"{x}, {weight}, {weight} -> {x}", literals={"normalized_shape": dims})
