"""Steps that lay features out anew, and take them apart and put them together."""

from __future__ import annotations

import torch
from verify.programs import Builder, Made
from verify.steps import at_least, even, step


@step
def split_dim(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    n = (2, 3, 4)[j % 3]
    x = b.value(i, even(n))
    if x is None:
        return None
    *rest, width = b.dims[x]
    if k % 2:
        return Made(lambda v: v[x].unflatten(-1, (width // n, n)), (*rest, width // n, n))
    return Made(lambda v: v[x].view(*v[x].shape[:-1], n, -1), (*rest, n, width // n))


@step
def merge_dims(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    x = b.value(i, at_least(2))
    if x is None:
        return None
    *rest, left, right = b.dims[x]
    if k % 2:
        return Made(lambda v: v[x].flatten(-2), (*rest, left * right))
    return Made(lambda v: v[x].reshape(*v[x].shape[:-2], left * right), (*rest, left * right))


@step
def swap(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    x = b.value(i, at_least(2))
    if x is None:
        return None
    dims, first, second = list(b.dims[x]), j % len(b.dims[x]), k % len(b.dims[x])
    dims[first], dims[second] = dims[second], dims[first]
    return Made(lambda v: v[x].transpose(first + 2, second + 2), tuple(dims))


@step
def regroup(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """(a, b) read as (b, a): row-major, so the units of neither stay together."""
    x = b.value(i, at_least(2))
    if x is None:
        return None
    *rest, left, right = b.dims[x]
    return Made(lambda v: v[x].reshape(*v[x].shape[:-2], right, left), (*rest, right, left))


@step
def cut(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    x = b.value(i, lambda dims: dims[-1] > 2)
    if x is None:
        return None
    *rest, width = b.dims[x]
    start = j % (width - 1)
    end = start + 1 + k % (width - start)
    if m % 4 == 3 and width % 2 == 0:
        return Made(lambda v: v[x][..., j % 2 :: 2], (*rest, width // 2))
    return Made(lambda v: v[x][..., start:end], (*rest, end - start))


@step
def part(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    n = (2, 3)[j % 2]
    x = b.value(i, even(n))
    if x is None:
        return None
    *rest, width = b.dims[x]
    if m % 2:
        sizes = [width // n - 1, width - width // n + 1] if width // n > 1 else [1, width - 1]
        return Made(lambda v: v[x].split(sizes, -1)[k % 2], (*rest, sizes[k % 2]))
    return Made(lambda v: v[x].chunk(n, -1)[k % n], (*rest, width // n))


@step
def join(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    x = b.value(i)
    y = b.value(j, lambda dims: dims[:-1] == b.dims[x][:-1])
    if m % 3 == 2:
        z = b.like(k, x)
        return Made(lambda v: torch.stack((v[x], v[z]), -1), (*b.dims[x], 2))
    widths = [b.dims[x][-1], b.dims[y][-1], b.dims[x][-1]]
    if m % 3 == 1:
        return Made(lambda v: torch.cat((v[x], v[y], v[x]), -1), (*b.dims[x][:-1], sum(widths)))
    return Made(lambda v: torch.cat((v[x], v[y]), -1), (*b.dims[x][:-1], sum(widths[:2])))


@step
def spread(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """One position for several, as in grouped queries."""
    x, n = b.value(i), 2 + j % 2
    *rest, width = b.dims[x]
    if k % 4 == 0:
        return Made(lambda v: v[x].repeat_interleave(n, -1), (*rest, width * n))
    if k % 4 == 1:
        return Made(lambda v: v[x].repeat(*[1] * (v[x].ndim - 1), n), (*rest, width * n))
    if k % 4 == 2:
        return Made(lambda v: v[x].unsqueeze(-2).expand(*v[x].shape[:-1], n, width), (*rest, n, width))
    return Made(
        lambda v: v[x].unsqueeze(-1).expand(*v[x].shape, n).reshape(*v[x].shape[:-1], width * n), (*rest, width * n)
    )
