"""Shape rules of the ops that pick positions by data, and of those that make constants."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fxprune.rules.layout import names, text
from fxprune.rules.table import Applied, Call, Shape, opaque, shape_rule

aten = torch.ops.aten


@shape_rule(aten.index.Tensor)
def index(call: Call) -> Applied:
    """``a n! b, ... -> a ... b``: positions picked by data; index tensors broadcast, a mask picks rows in order."""
    picks = picks_of(call, call.operands[1:])
    return Applied(text(picks.source, *picks.indices, to=[picks.room]), reason="rows are picked by data")


@dataclass(frozen=True, slots=True)
class Picks:
    """What ``x[indices]`` picks: the dimensions of x, of each index, and of the result."""

    source: list[str]
    indices: list[list[str]]
    room: list[str]


def picks_of(call: Call, indices: list[Shape | None]) -> Picks:
    """Read the indices of an op, which follow its first operand; a mask covers as many dimensions as it has."""
    masks = {i for i in range(len(indices)) if i + 1 in call.masks}
    picked: list[int] = []
    at = 0
    for i, shape in enumerate(indices):
        covered = 1 if shape is None or i not in masks else len(shape)
        picked += [] if shape is None else range(at, at + covered)
        at += covered
    rank = max(1 if i in masks else len(shape) for i, shape in enumerate(indices) if shape is not None)
    picks = [f"{name}!" if masks else name for name in names(rank, "i")]
    spelled = [
        [f"{name}!" for name in names(len(shape or ()), f"k{i}x")] if masks else _aligned(shape, picks)
        for i, shape in enumerate(indices)
    ]
    dims = names(len(call.x))
    rest = [name for place, name in enumerate(dims) if place not in picked]
    first = picked[0] if picked == list(range(picked[0], picked[-1] + 1)) else 0
    source = [f"{name}!" if place in picked else name for place, name in enumerate(dims)]
    return Picks(source, spelled, [*rest[:first], *picks, *rest[first:]])


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
