"""Steps that compute on values: element by element, in place, normalised, reduced."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from verify.programs import Builder, Made
from verify.steps import at_least, even, step


@step
def residual(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    x = b.value(i)
    y = b.like(j, x)
    if k % 2:
        return Made(lambda v: v[x] * torch.sigmoid(v[y]), b.dims[x])
    return Made(lambda v: v[x] + v[y], b.dims[x])


@step
def broadcast(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """A value against one of fewer dimensions, or against a parameter with dimensions of one."""
    x = b.value(i)
    dims = b.dims[x]
    y = b.value(j, lambda other: len(other) < len(dims) and other == dims[len(dims) - len(other) :])
    if y is not None and m % 2:
        return (
            Made(lambda v: v[x] * v[y].reshape(*v[y].shape[:2], *[1] * (len(dims) - v[y].ndim + 2), -1), dims)
            if (len(b.dims[y]) == 1)
            else None
        )
    shape = [size if (k >> place) % 2 else 1 for place, size in enumerate(dims)]
    weight = b.weight(*shape)
    return Made(lambda v: v[x] * weight() if m % 4 < 2 else v[x] + weight(), dims)


@step
def pointwise(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    x = b.value(i)
    functions: list[Callable[[Tensor], Tensor]] = [
        functional.gelu,
        torch.tanh,
        lambda y: torch.where(y > 0, y, y * 0.1),
        lambda y: y.masked_fill(y < -1, 0.5),
        lambda y: functional.dropout(y, 0.1, training=False) * 2 + 1,
        lambda y: y.clamp(-1, 1).abs().sqrt(),
        lambda y: y.float().to(torch.float64).cos() if y.dtype == torch.float32 else y.cos(),
    ]
    function = functions[j % len(functions)]
    return Made(lambda v: function(v[x]), b.dims[x])


@step
def in_place(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    x = b.value(i, even(2))
    if x is None:
        return None
    half = b.dims[x][-1] // 2

    def run(v: list[Tensor]) -> Tensor:
        fresh = torch.zeros_like(v[x]) if j % 2 else v[x].clone()
        fresh[..., :half] = v[x][..., half:] if k % 2 else v[x][..., :half] * 2
        return fresh.add_(1.0) if m % 2 else fresh

    return Made(run, b.dims[x])


@step
def rotate(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """Rotary embeddings: halves, or every second position."""
    x = b.value(i, even(2))
    if x is None:
        return None
    width = b.dims[x][-1]
    frequencies = b.weight(width // 2)

    def run(v: list[Tensor]) -> Tensor:
        angle = torch.cat((frequencies(), frequencies())) if j % 2 else frequencies().repeat_interleave(2)
        if j % 2:
            left, right = v[x].chunk(2, -1)
            turned = torch.cat((-right, left), -1)
        else:
            turned = torch.stack((-v[x][..., 1::2], v[x][..., ::2]), -1).flatten(-2)
        return v[x] * angle.cos() + turned * angle.sin()

    return Made(run, b.dims[x])


@step
def norm(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    x = b.value(i)
    dims = b.dims[x]
    over = dims[-2:] if len(dims) > 1 and k % 3 == 2 else dims[-1:]
    if j % 3 == 2:
        return Made(lambda v: v[x] * torch.rsqrt(v[x].square().mean(-1, keepdim=True) + 1e-2), dims)
    layer = b.layer(nn.LayerNorm(over, eps=1e-2) if j % 3 else nn.RMSNorm(over, eps=1e-2))
    return Made(lambda v: layer(v[x]), dims)


@step
def reduce(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    x = b.value(i, at_least(2))
    if x is None:
        return None
    dims = b.dims[x]
    dim = j % len(dims)
    functions: list[Callable[[Tensor], Tensor]] = [
        lambda y: y.sum(dim + 2),
        lambda y: y.mean(dim + 2),
        lambda y: y.amax(dim + 2),
        lambda y: y.select(dim + 2, 0),
        lambda y: y.unbind(dim + 2)[-1],
    ]
    function = functions[k % len(functions)]
    return Made(lambda v: function(v[x]), (*dims[:dim], *dims[dim + 1 :]))


@step
def gate(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """A value times what is computed of all of its positions."""
    x = b.value(i)
    functions: list[Callable[[Tensor], Tensor]] = [
        lambda y: y * y.mean(-1, keepdim=True),
        lambda y: y * torch.sigmoid(y.sum(-1, keepdim=True)),
        lambda y: y * y.mean(1, keepdim=True).tanh(),
        lambda y: y / (y.norm(dim=-1, keepdim=True) + 1),
        lambda y: y * y.softmax(-1),
        lambda y: y - y.mean(-1, keepdim=True),
    ]
    function = functions[j % len(functions)]
    return Made(lambda v: function(v[x]), b.dims[x])


@step
def not_alike(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """Ops to which positions are not alike: what they touch must stay whole."""
    x = b.value(i)
    width = b.dims[x][-1]
    order = torch.randperm(width)
    functions: list[Callable[[Tensor], Tensor]] = [
        lambda y: y.flip(-1),
        lambda y: y.roll(1, -1),
        lambda y: y.cumsum(-1),
        lambda y: y * torch.arange(width),
        lambda y: y[..., order],
        lambda y: y.sort(-1).values,
        lambda y: y + y[..., :1],
        lambda y: functional.pad(y, (1, 0))[..., :-1],
    ]
    function = functions[j % len(functions)]
    return Made(lambda v: function(v[x]), b.dims[x])
