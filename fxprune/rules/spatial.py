"""Shape rules of the ops on channels and positions: convolutions, pooling, padding, norms over positions."""

from __future__ import annotations

import torch

from fxprune.rules.layout import names, text
from fxprune.rules.table import Applied, Call, Literals, overload, shape_rule
from fxprune.sizes import Size

aten = torch.ops.aten


def flagged(dims: list[str], flag: str) -> list[str]:
    """``["x0", "x1"]`` with ``!`` is ``["x0!", "x1!"]``."""
    return [f"{dim}{flag}" for dim in dims]


@shape_rule(
    aten.conv1d.default,
    aten.conv2d.default,
    aten.conv3d.default,
    aten.conv1d.padding,
    aten.conv2d.padding,
    aten.conv3d.padding,
)
def convolution(call: Call) -> Applied:
    """``n c x!, o c k!, o? -> n o y!``; in g groups ``n (g c) x!, (g o) c k!, (g o)? -> n (g o) y!``.

    What each group takes and gives is cut alike in all groups, and a group may go with all that is its own.
    """
    weight = call.operands[1]
    assert weight is not None
    spatial = len(weight) - 2
    batch = ["n"] if len(call.x) == len(weight) else []
    x, k, y = (flagged(names(spatial, letter), "!") for letter in "xky")
    groups, taken, given = call["groups"], weight[1], weight[0]
    assert isinstance(given, int)
    outer = ["g"] if groups > 1 else []
    inner_in = ["c"] if taken != 1 or groups == 1 else []  # one channel a group, as in a depthwise convolution
    inner_out = ["o"] if given != groups or groups == 1 else []
    into, out = _product(outer + inner_in), _product(outer + inner_out)
    bias = [[f"{out}?"]] if call.operands[2:] else []
    rule = text([*batch, into, *x], [out, _product(inner_in), *k], *bias, to=[[*batch, out, *y]])
    literals: Literals = {"groups": "g"} if groups > 1 else {}
    return Applied(rule, _sizes(groups, taken, given // groups), literals, reason="a filter slides over it")


def _sizes(groups: int, taken: Size, given: int) -> dict[str, Size]:
    return {"g": groups, "c": taken, "o": given} if groups > 1 else {}


def _product(parts: list[str]) -> str:
    if not parts:
        return "1"
    return parts[0] if len(parts) == 1 else f"({' '.join(parts)})"


_RESIZED = {
    1: "adaptive_avg_pool1d avg_pool1d max_pool1d adaptive_max_pool1d upsample_nearest1d.vec upsample_linear1d.vec",
    2: "adaptive_avg_pool2d avg_pool2d max_pool2d upsample_nearest2d.vec upsample_bilinear2d.vec "
    "upsample_bicubic2d.vec _upsample_nearest_exact2d.vec",
    3: "adaptive_avg_pool3d avg_pool3d max_pool3d upsample_nearest3d.vec upsample_trilinear3d.vec",
}
_SPATIAL = {op: rank for rank, ops in _RESIZED.items() for name in ops.split() if (op := overload(name)) is not None}


@shape_rule(*_SPATIAL)
def resized(call: Call) -> Applied:
    """``n c x! -> n c y!``: pooled or interpolated, each channel for itself."""
    spatial = _SPATIAL[call.op]
    channels = names(len(call.x) - spatial)
    x, y = (flagged(names(spatial, letter), "!") for letter in "xy")
    results = [[*channels, *y]] * len(call.results)
    return Applied(text([*channels, *x], to=results), reason="positions are pooled or interpolated")


@shape_rule(aten.pad.default, aten.constant_pad_nd.default)
def pad(call: Call) -> Applied:
    """``a x! -> a y``: only the padded dimensions change."""
    dims = names(len(call.x))
    before, after = list(dims), list(dims)
    amounts = call["pad"]
    for place in range(len(amounts) // 2):
        dim = len(dims) - 1 - place
        if any(not isinstance(amount, int) or amount for amount in amounts[2 * place : 2 * place + 2]):
            before[dim], after[dim] = f"{dims[dim]}!", f"y{dim}!"
    return Applied(text(before, to=[after]), reason="positions are added to it")


@shape_rule(aten.im2col.default)
def im2col(call: Call) -> Applied:
    """``n c x! y! -> n (c k!) l!``: the window around each position, laid beside the channel."""
    batch = ["n"] if len(call.x) == 4 else []
    window = call["kernel_size"]
    size = window[0] * window[-1]
    return Applied(
        text([*batch, "c", "x!", "y!"], to=[[*batch, "(c k!)", "l!"]]),
        {"k": size},
        reason="a window slides over it",
    )


@shape_rule(aten.batch_norm.default)
def batch_norm(call: Call) -> Applied:
    """``n c ..., c?, c?, c?, c? -> n c ...``: every channel for itself; in training over all rows and positions."""
    dims = names(len(call.x))
    channel = [[f"{dims[1]}?"]] * (len(call.operands) - 1)
    before = [dim if place == 1 or not call["training"] else f"{dim}!" for place, dim in enumerate(dims)]
    return Applied(text(before, *channel, to=[dims]), reason="normalised over rows and positions")


@shape_rule(aten.group_norm.default)
def group_norm(call: Call) -> Applied:
    """``n (g c~) x!, (g c)?, (g c)? -> n (g c) x``: normalised over the channels of a group and all positions."""
    groups, channels = call["num_groups"], call.x[1]
    assert isinstance(channels, int)
    x = names(len(call.x) - 2, "x")
    both = "g" if channels == groups else "(g c~)"
    affine = [[f"{both}?"]] * (len(call.operands) - 1)
    rule = text(["n", both, *flagged(x, "!")], *affine, to=[["n", both.replace("~", ""), *x]])
    sizes: dict[str, Size] = {"g": groups, "c": channels // groups}
    return Applied(rule, sizes, {"num_groups": "g"}, reason="normalised over all positions")


@shape_rule(aten._weight_norm.default)
def weight_norm(call: Call) -> Applied:
    """``o i~ k~, o 1 1 -> o i k``: a length for each position of one dimension, over all others."""
    dims = names(len(call.x))
    dim = call["dim"] % len(dims)
    length = [name if place == dim else "1" for place, name in enumerate(dims)]
    before = [name if place == dim else f"{name}~" for place, name in enumerate(dims)]
    return Applied(text(before, length, to=[dims]))


@shape_rule(aten.prelu.default)
def prelu(call: Call) -> Applied:
    """``n c ..., c -> n c ...``: a slope for each channel, or one for all."""
    dims = names(len(call.x))
    slope = call.operands[1]
    per_channel = slope and slope[0] != 1 and len(dims) > 1
    return Applied(text(dims, [dims[1] if per_channel else "1"] if slope else [], to=[dims]))
