"""Shape rules of the ops that compute: attention, products, reductions, convolutions, indexing, constants."""

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
    m = f"... {h} q! k!?" if mask is not None and len(mask) > 2 else "q! k!?"
    rule = f"... {h} q! e, ... h k! e, ... h k! v, {m} -> ... {h} q! v"
    return Applied(rule, roles={**ATTENTION, "g": "queries per key"}, reason="attended over")


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


@shape_rule(aten.einsum.default)
def einsum(call: Call) -> Applied:
    """The notation is einsum's own, with names instead of letters."""
    equation = call["equation"].replace(" ", "")
    left, arrow, right = equation.partition("->")
    if not arrow or any(
        len(set(term)) != len(term.replace("...", ".")) for term in left.split(",") if "..." not in term
    ):
        return opaque(call, f"einsum {equation!r}")
    return Applied(f"{', '.join(map(_spell, left.split(',')))} -> {_spell(right)}")


def _spell(term: str) -> str:
    rest = term.removeprefix("...")
    dims = [f"x{ord(letter)}" for letter in rest]
    return " ".join([*(["..."] if rest != term else []), *dims])


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
    aten.sum.dim_IntList, aten.mean.dim, aten.var.correction, aten.std.correction, aten.linalg_vector_norm.default
)
def reduce(call: Call) -> Applied:
    """A sum over d is ``a d -> a``; a mean is taken over what is kept, ``a d~ -> a``."""
    dims = names(len(call.x))
    given = call["dim"]
    across = set(range(len(dims))) if given in (None, []) else {d % len(dims) for d in _as_list(given)}
    flag = "" if call.op is aten.sum.dim_IntList or call.op is aten.linalg_vector_norm.default else "~"
    before = [f"{name}{flag}" if i in across else name for i, name in enumerate(dims)]
    after = [("1" if i in across else name) for i, name in enumerate(dims) if i not in across or call["keepdim"]]
    return Applied(text(before, to=[after]))


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


@shape_rule(
    aten.conv1d.default,
    aten.conv2d.default,
    aten.conv3d.default,
    aten.conv1d.padding,
    aten.conv2d.padding,
    aten.conv3d.padding,
)
def convolution(call: Call) -> Applied:
    """``n c x!, o c k!, o? -> n o y!``; one filter a channel when there are as many groups as channels."""
    weight = call.operands[1]
    assert weight is not None
    spatial = len(weight) - 2
    batch = ["n"] if len(call.x) == len(weight) else []
    x = [f"{name}!" for name in names(spatial, "x")]
    k = [f"{name}!" for name in names(spatial, "k")]
    y = [f"{name}!" for name in names(spatial, "y")]
    reason = "a filter slides over it"
    bias = "o?" if call.operands[2:] else None
    if call["groups"] == 1:
        rule = text([*batch, "c", *x], ["o", "c", *k], *([[bias]] if bias else []), to=[[*batch, "o", *y]])
        return Applied(rule, reason=reason)
    if call["groups"] == weight[0] and weight[1] == 1:
        rule = text([*batch, "o", *x], ["o", "1", *k], *([[bias]] if bias else []), to=[[*batch, "o", *y]])
        return Applied(rule, literals={"groups": "o"}, reason=reason)
    return opaque(call, "a grouped convolution")


@shape_rule(aten.index.Tensor)
def index(call: Call) -> Applied:
    """``a n! b, ... -> a ... b``: positions picked by data; index tensors broadcast."""
    picked = [i for i, value in enumerate(call["indices"]) if value is not None]
    dims = names(len(call.x))
    before = [f"{name}!" if i in picked else name for i, name in enumerate(dims)]
    indices = [shape for shape in call.operands[1:] if shape is not None]
    rank = max(len(shape) for shape in indices)
    broadcast = names(rank, "i")
    adjacent = picked == list(range(picked[0], picked[-1] + 1))
    at = picked[0] if adjacent else 0
    rest = [name for i, name in enumerate(dims) if i not in picked]
    operands = [_aligned(shape, broadcast) for shape in call.operands[1:] if shape is not None]
    return Applied(text(before, *operands, to=[[*rest[:at], *broadcast, *rest[at:]]]), reason="rows are picked by data")


def _aligned(shape: Shape, broadcast: list[str]) -> list[str]:
    return broadcast[len(broadcast) - len(shape) :]


@shape_rule(aten.index_select.default)
def index_select(call: Call) -> Applied:
    """``a n! b, m -> a m b``."""
    dims, dim = names(len(call.x)), call["dim"] % len(call.x)
    before, after = list(dims), list(dims)
    before[dim], after[dim] = f"{dims[dim]}!", "m"
    return Applied(text(before, ["m"], to=[after]), reason="rows are picked by data")


@shape_rule(
    aten.zeros.default,
    aten.ones.default,
    aten.full.default,
    aten.empty.memory_format,
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.new_full.default,
    aten.new_empty.default,
)
def constant(call: Call) -> Applied:
    """Every position holds the same value, so a literal size may follow whatever it meets."""
    dims = names(len(call.out))
    literals = [
        name if isinstance(value, int) and value != 1 else None for name, value in zip(dims, call["size"], strict=True)
    ]
    operands = [names(len(shape), "other") for shape in call.operands if shape is not None]
    return Applied(text(*operands, to=[dims]), literals={"size": literals})


@shape_rule(
    aten.arange.default,
    aten.arange.start,
    aten.arange.start_step,
    aten.linspace.default,
    aten.eye.default,
    aten.tril.default,
)
def counted(call: Call) -> Applied:
    """Every position holds its own value, computed from where it stands."""
    return opaque(call, "its values are computed from positions")
