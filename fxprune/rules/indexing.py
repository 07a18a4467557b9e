"""Shape rules of the ops that pick positions by data, and of those that make constants."""

from __future__ import annotations

import torch

from fxprune.rules.layout import names, text
from fxprune.rules.table import Applied, Call, Shape, opaque, shape_rule

aten = torch.ops.aten


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
    operands = [_aligned(shape, broadcast) for shape in call.operands[1:]]
    return Applied(text(before, *operands, to=[[*rest[:at], *broadcast, *rest[at:]]]), reason="rows are picked by data")


def _aligned(shape: Shape | None, broadcast: list[str]) -> list[str]:
    return [] if shape is None else broadcast[len(broadcast) - len(shape) :]


@shape_rule(aten.index_select.default)
def index_select(call: Call) -> Applied:
    """``a n! b, m -> a m b``."""
    dims, dim = names(len(call.x)), call["dim"] % len(call.x)
    picked = ["m"] if call.operands[1] else []  # an index without dimensions picks one
    before, after = list(dims), list(dims)
    before[dim], after[dim] = f"{dims[dim]}!", picked[0] if picked else "1"
    return Applied(text(before, picked, to=[after]), reason="rows are picked by data")


@shape_rule(aten.gather.default)
def gather(call: Call) -> Applied:
    """``a n! b, a m b -> a m b``: along one dimension positions are picked by data, along the others they are alike."""
    index = call.operands[1]
    assert index is not None
    dims = names(len(call.x))
    across = call["dim"] % len(dims) if dims else 0
    before, picked = list(dims), list(dims)
    for place, name in enumerate(dims):
        if place == across:
            before[place], picked[place] = f"{name}!", "m"
        elif index[place] != call.x[place]:  # the index leaves out the last positions
            before[place], picked[place] = f"{name}!", f"m{place}!"
    return Applied(text(before, picked, to=[[name.rstrip("!") for name in picked]]), reason="rows are picked by data")


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
    aten.triu.default,
)
def counted(call: Call) -> Applied:
    """Every position holds its own value, computed from where it stands."""
    return opaque(call, "its values are computed from positions")
