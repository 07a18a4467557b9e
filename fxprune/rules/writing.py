"""Shape rules of the ops that write into some positions of a tensor, picked by data."""

from __future__ import annotations

import torch

from fxprune.rules.indexing import picks_of
from fxprune.rules.layout import names, text
from fxprune.rules.table import Applied, Call, Shape, opaque, shape_rule

aten = torch.ops.aten

_WRITTEN = "rows are written where data says"


@shape_rule(
    aten.index_add.default,
    aten.index_add_.default,
    aten.index_copy.default,
    aten.index_copy_.default,
)
def index_write(call: Call) -> Applied:
    """``a n! b, k!, a m! b -> a n! b``: row m of what is written goes where entry m of the index says."""
    _, index, source = call.operands
    if not call.x or index is None or source is None or len(source) != len(call.x):
        return opaque(call, _WRITTEN)
    dims, dim = names(len(call.x)), call["dim"] % len(call.x)
    before, written = list(dims), list(dims)
    before[dim], written[dim] = f"{dims[dim]}!", "m!"
    return Applied(text(before, ["k!"] if index else [], written, to=[dims]), reason=_WRITTEN)


@shape_rule(aten.index_fill.int_Scalar, aten.index_fill_.int_Scalar)
def index_fill(call: Call) -> Applied:
    """``a n! b, m! -> a n! b``."""
    dims, index = names(len(call.x)), call.operands[1]
    before = list(dims)
    if dims:
        before[call["dim"] % len(dims)] += "!"
    return Applied(text(before, ["m!"] if index else [], to=[dims]), reason=_WRITTEN)


@shape_rule(aten.index_put.default, aten.index_put_.default)
def index_put(call: Call) -> Applied:
    """``a n! b, k!, a m! b -> a n! b``, as in ``x[:, index] = values``; values broadcast to what is picked."""
    picks, values = picks_of(call, call.operands[1:-1]), call.operands[-1]
    indices = [[f"k{i}{_bare(name)}!" for name in line] for i, line in enumerate(picks.indices)]
    room = [name if name in picks.source else f"m{_bare(name)}!" for name in picks.room]
    if values is None or len(values) > len(room):
        return opaque(call, _WRITTEN)
    fitting = room[len(room) - len(values) :]
    written = ["1" if size == 1 else name for size, name in zip(values, fitting, strict=True)]
    return Applied(text(picks.source, *indices, written, to=[names(len(call.x))]), reason=_WRITTEN)


def _bare(name: str) -> str:
    return name.rstrip("!")


@shape_rule(aten.scatter.src, aten.scatter_.src, aten.scatter_add.default, aten.scatter_add_.default)
def scatter(call: Call) -> Applied:
    """``a n! b, a m! b, a m! b -> a n! b``: along one dimension positions are picked by data, along others alike."""
    return _scattered(call, call.operands[2])


@shape_rule(aten.scatter.value, aten.scatter_.value)
def scatter_value(call: Call) -> Applied:
    """``a n! b, a m! b -> a n! b``."""
    return _scattered(call, None)


def _scattered(call: Call, source: Shape | None) -> Applied:
    index = call.operands[1]
    assert index is not None
    dims = names(len(call.x))
    across = call["dim"] % len(dims) if dims else 0
    before, picked, written = list(dims), list(dims), list(dims)
    for place, name in enumerate(dims):
        alike = place != across and index[place] == call.x[place] and (source is None or source[place] == index[place])
        if not alike:  # along this one data says where, or the last positions are left out
            before[place], picked[place] = f"{name}!", f"m{place}!"
            written[place] = picked[place] if source is None or source[place] == index[place] else f"s{place}!"
    operands = [before, picked] if source is None else [before, picked, written]
    return Applied(text(*operands, to=[dims]), reason=_WRITTEN)


@shape_rule(aten.masked_scatter.default, aten.masked_scatter_.default)
def masked_scatter(call: Call) -> Applied:
    """``a! d, a! 1, m! d -> a d``: rows are written in order where a mask says; along d it must not change."""
    _, mask, source = call.operands
    assert mask is not None
    assert source is not None
    dims = names(len(call.x))
    across: Shape = (*[1] * (len(dims) - len(mask)), *mask)
    alike = 0  # trailing dimensions in which whole rows are written
    while alike < min(len(dims), len(source)) and across[-alike - 1] == 1 and call.x[-alike - 1] == source[-alike - 1]:
        alike += 1
    first = len(dims) - alike
    before = [f"{name}!" if place < first else name for place, name in enumerate(dims)]
    masked = ["1" if size == 1 else f"k{place}!" for place, size in enumerate(mask)]
    written = [f"m{place}!" for place in range(len(source) - alike)] + dims[first:]
    return Applied(text(before, masked, written, to=[dims]), reason=_WRITTEN)


@shape_rule(aten.select_scatter.default)
def select_scatter(call: Call) -> Applied:
    """``a n! b, a b -> a n! b``: one position is written."""
    dims, dim = names(len(call.x)), call["dim"] % len(call.x)
    before = [*dims[:dim], f"{dims[dim]}!", *dims[dim + 1 :]]
    return Applied(text(before, dims[:dim] + dims[dim + 1 :], to=[dims]), reason="one position is written")


@shape_rule(aten.slice_scatter.default)
def slice_scatter(call: Call) -> Applied:
    """``a n! b, a m! b -> a n! b``: a run of positions is written."""
    dims, dim = names(len(call.x)), call["dim"] % len(call.x)
    before, written = list(dims), list(dims)
    if call.operands[1] != call.x:
        before[dim], written[dim] = f"{dims[dim]}!", "m!"
    return Applied(text(before, written, to=[dims]), reason="a run of positions is written")
