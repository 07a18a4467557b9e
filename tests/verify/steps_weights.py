"""Steps that project: shared, tied, computed and per-head weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from verify.programs import WIDTHS, Builder, Made
from verify.steps import at_least, step


@step
def linear(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    x, width = b.value(i), WIDTHS[j % len(WIDTHS)]
    layer = b.layer(nn.Linear(b.dims[x][-1], width, bias=bool(k % 2)))
    return Made(lambda v: layer(v[x]), (*b.dims[x][:-1], width))


@step
def shared(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """A layer that is there already, forwards or backwards."""
    places = [place for place, layer in enumerate(b.layers) if isinstance(layer, nn.Linear)]
    if not places:
        return linear(b, i, j, k, m)
    place, back = places[j % len(places)], k % 2
    layer, sizes = b.at(place), (b.layers[place].in_features, b.layers[place].out_features)
    x = b.value(i, lambda dims: dims[-1] == sizes[back])
    if x is None:
        return None
    if back:
        return Made(lambda v: v[x] @ b.module(place).weight, (*b.dims[x][:-1], sizes[0]))
    return Made(lambda v: layer(v[x]).tanh(), (*b.dims[x][:-1], sizes[1]))


@step
def experts(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """Several weights in one tensor, mixed by a router."""
    x, n, width = b.value(i), 2 + j % 3, WIDTHS[k % len(WIDTHS)]
    router, weight = b.layer(nn.Linear(b.dims[x][-1], n)), b.weight(n, b.dims[x][-1], width)
    if m % 2:
        return Made(
            lambda v: torch.einsum("...n,...i,nio->...o", router(v[x]).softmax(-1), v[x], weight()),
            (*b.dims[x][:-1], width),
        )
    return Made(
        lambda v: (torch.einsum("...i,nio->...no", v[x], weight()) * router(v[x]).softmax(-1).unsqueeze(-1)).sum(-2),
        (*b.dims[x][:-1], width),
    )


@step
def per_head(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """Every head has a weight of its own."""
    x = b.value(i, at_least(2))
    if x is None:
        return None
    *rest, heads, dim = b.dims[x]
    width = 2 + j % 4
    weight = b.weight(heads, dim, width)
    if k % 2:
        return Made(lambda v: torch.einsum("...he,hef->...hf", v[x], weight()), (*rest, heads, width))
    return Made(lambda v: (v[x].unsqueeze(-2) @ weight()).squeeze(-2), (*rest, heads, width))


@step
def bottleneck(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """A feed-forward block with a residual, gated or not."""
    x, inner = b.value(i), WIDTHS[j % len(WIDTHS)]
    width, gated = b.dims[x][-1], k % 2
    up, down = b.layer(nn.Linear(width, 2 * inner if gated else inner)), b.layer(nn.Linear(inner, width))

    def run(v: list[Tensor]) -> Tensor:
        y = up(v[x])
        if gated:
            left, right = y.chunk(2, -1) if m % 2 else y.split(inner, -1)
            return v[x] + down(functional.silu(left) * right)
        return v[x] + down(functional.gelu(y))

    return Made(run, b.dims[x])


@step
def low_rank(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """A weight that is a product, or a sum with one."""
    x, rank, width = b.value(i), 2 + j % 3, WIDTHS[k % len(WIDTHS)]
    down, up = b.weight(b.dims[x][-1], rank), b.weight(rank, width)
    base = b.weight(b.dims[x][-1], width)
    if m % 2:
        return Made(lambda v: v[x] @ (down() @ up()), (*b.dims[x][:-1], width))
    return Made(lambda v: v[x] @ (base() + down() @ up()), (*b.dims[x][:-1], width))


@step
def joined_weights(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """One product with several weights laid end to end, or with a part of one."""
    x, left, right = b.value(i), WIDTHS[j % len(WIDTHS)], WIDTHS[k % len(WIDTHS)]
    width = b.dims[x][-1]
    first, second = b.weight(left, width), b.weight(right, width)
    if m % 3 == 0:
        return Made(lambda v: functional.linear(v[x], first()[: left // 2]), (*b.dims[x][:-1], left // 2))
    if m % 3 == 1:
        return Made(lambda v: functional.linear(v[x], torch.cat((first(), second()))), (*b.dims[x][:-1], left + right))
    return Made(
        lambda v: functional.linear(v[x], torch.cat((first(), second()))).split([left, right], -1)[0],
        (*b.dims[x][:-1], left),
    )


@step
def own_norm(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """A weight that is normalised before it is used."""
    x, width = b.value(i), WIDTHS[j % len(WIDTHS)]
    weight = b.weight(width, b.dims[x][-1])
    dim = k % 2
    return Made(
        lambda v: functional.linear(v[x], weight() / (weight().norm(dim=dim, keepdim=True) + 0.1)),
        (*b.dims[x][:-1], width),
    )


@step
def positions(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """A table of positions, read from the front."""
    x = b.value(i)
    table = b.weight(16, *b.dims[x])
    return Made(lambda v: v[x] + table()[: v[x].shape[1]], b.dims[x])
