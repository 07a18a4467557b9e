"""Steps that multiply values with each other: products and attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from verify.programs import WIDTH, Builder, Made
from verify.steps import at_least, even, step


@step
def gram(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    x = b.value(i, at_least(2))
    if x is None:
        return None
    y = b.like(j, x)
    *rest, left, right = b.dims[x]
    if k % 3 == 0:
        return Made(lambda v: v[x] @ v[y].mT * 0.2, (*rest, left, left))
    if k % 3 == 1:
        return Made(lambda v: torch.einsum("...ij,...ik->...jk", v[x], v[y]) * 0.2, (*rest, right, right))
    return Made(lambda v: (v[x] @ v[y].mT).softmax(-1) @ v[x], b.dims[x])


@step
def outer(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    x = b.value(i, lambda dims: len(dims) == 1)
    y = b.value(j, lambda dims: len(dims) == 1)
    if x is None or y is None:
        return None
    dims = (b.dims[x][-1], b.dims[y][-1])
    if k % 2:
        return Made(lambda v: torch.einsum("bti,btj->btij", v[x], v[y]), dims)
    return Made(lambda v: v[x][..., None] * v[y][..., None, :], dims)


@step
def attention(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """Heads from one dimension or two; fused or by hand; causal or not."""
    heads = (2, 3, 4)[m % 3]
    x = b.value(i, lambda dims: len(dims) == 2 or (len(dims) == 1 and even(heads)(dims)))
    if x is None:
        return None
    y = b.like(j, x)
    dims = b.dims[x]

    def per_head(value: Tensor) -> Tensor:
        split = value if len(dims) == 2 else value.view(value.shape[0], value.shape[1], heads, -1)
        return split.transpose(1, 2)

    def run(v: list[Tensor]) -> Tensor:
        q, key, value = per_head(v[x]), per_head(v[y]), per_head(v[x])
        if k % 3 == 0:
            mixed = functional.scaled_dot_product_attention(q, key, value, is_causal=bool(m % 2))
        elif k % 3 == 1:
            mixed = (q @ key.mT * q.shape[-1] ** -0.5).softmax(-1) @ value
        else:
            scores = torch.einsum("bhqe,bhke->bhqk", q, key)
            mixed = torch.einsum("bhqk,bhke->bhqe", scores.softmax(-1), value)
        merged = mixed.transpose(1, 2)
        return merged if len(dims) == 2 else merged.reshape(*v[x].shape[:2], dims[0])

    return Made(run, dims)


@step
def grouped_attention(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """Several query heads share a key and value head."""
    x, heads, dim, group = b.value(i, lambda dims: len(dims) == 1), 2, 2 + j % 3, 2 + k % 2
    if x is None:
        return None
    width = b.dims[x][-1]
    q, kv = b.layer(nn.Linear(width, heads * group * dim)), b.layer(nn.Linear(width, 2 * heads * dim))
    out = b.layer(nn.Linear(heads * group * dim, WIDTH))

    def run(v: list[Tensor]) -> Tensor:
        query = q(v[x]).unflatten(-1, (heads * group, dim)).transpose(1, 2)
        key, value = (half.unflatten(-1, (heads, dim)).transpose(1, 2) for half in kv(v[x]).chunk(2, -1))
        if m % 2:
            mixed = functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)
        else:
            key, value = (one.repeat_interleave(group, 1) for one in (key, value))
            mixed = functional.scaled_dot_product_attention(query, key, value)
        return out(mixed.transpose(1, 2).flatten(2))

    return Made(run, (WIDTH,))
