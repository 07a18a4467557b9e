"""Steps that PyTorch brings as modules, and those that fold batch, tokens and features into each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from verify.programs import Builder, Dims, Made
from verify.steps import at_least, even, step


def flat(dims: Dims) -> bool:
    """Whether there is one feature dimension."""
    return len(dims) == 1


@step
def token_convolution(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """A filter over the tokens: of all channels, of each, or of groups of them."""
    x = b.value(i, lambda dims: flat(dims) and dims[0] % 2 == 0)
    if x is None:
        return None
    width = b.dims[x][0]
    groups = (1, width, 2)[j % 3]
    out = width if j % 3 == 1 else (8, width)[k % 2]
    layer = b.layer(nn.Conv1d(width, out, 3, padding=1, groups=groups))
    return Made(lambda v: layer(v[x].transpose(1, 2)).transpose(1, 2), (out,))


@step
def grouped_norm(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    x = b.value(i, lambda dims: flat(dims) and even(2)(dims))
    if x is None:
        return None
    layer = b.layer(nn.GroupNorm(2, b.dims[x][0], eps=1e-2))
    return Made(lambda v: layer(v[x].transpose(1, 2)).transpose(1, 2), b.dims[x])


@step
def fold_tokens(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """Every token for itself, as a row of one table, and back."""
    x = b.value(i, flat)
    if x is None:
        return None
    width = b.dims[x][0]
    layer = b.layer(nn.Linear(width, width))
    return Made(lambda v: layer(v[x].reshape(-1, width)).view(v[x].shape[0], -1, width), b.dims[x])


@step
def fold_heads(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """Batch and heads in one dimension, as older attention has it."""
    x = b.value(i, lambda dims: len(dims) == 2)
    if x is None:
        return None
    y = b.like(j, x)
    heads, dim = b.dims[x]

    def folded(value: Tensor) -> Tensor:
        return value.transpose(1, 2).reshape(-1, value.shape[1], dim)

    def run(v: list[Tensor]) -> Tensor:
        q, key = folded(v[x]), folded(v[y])
        scores = torch.bmm(q, key.mT) if k % 2 else torch.baddbmm(q.new_zeros(1, 1, 1), q, key.mT, alpha=0.3)
        mixed = torch.bmm(scores.softmax(-1), key)
        return mixed.view(v[x].shape[0], heads, -1, dim).transpose(1, 2)

    return Made(run, b.dims[x])


@step
def attention_module(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    x = b.value(i, lambda dims: flat(dims) and even(2)(dims))
    if x is None:
        return None
    layer = b.layer(nn.MultiheadAttention(b.dims[x][0], 2, batch_first=True))
    return Made(lambda v: layer(v[x], v[x], v[x], need_weights=bool(k % 2))[0], b.dims[x])


@step
def over_heads(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """Heads, or groups of features, are mixed with each other."""
    x = b.value(i, at_least(2))
    if x is None:
        return None
    heads, place = b.dims[x][-2], len(b.layers)
    layer = b.layer(nn.Linear(heads, heads))
    if k % 2:
        return Made(lambda v: layer(v[x].mT).mT, b.dims[x])
    return Made(lambda v: functional.normalize(v[x], dim=-2, eps=0.1) * b.module(place).bias[:, None], b.dims[x])


@step
def squeeze_excite(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    x = b.value(i, flat)
    if x is None:
        return None
    width, inner = b.dims[x][0], 2 + j % 3
    down, up = b.layer(nn.Linear(width, inner)), b.layer(nn.Linear(inner, width))
    return Made(lambda v: v[x] * torch.sigmoid(up(down(v[x].mean(1, keepdim=True)).relu())), b.dims[x])


@step
def pick_expert(b: Builder, i: int, j: int, k: int, m: int) -> Made | None:
    """The best of several values for each token, chosen by the data."""
    x = b.value(i, at_least(2))
    if x is None:
        return None
    *rest, _, width = b.dims[x]
    if rest:
        return None
    router = b.layer(nn.Linear(width, 1))

    def run(v: list[Tensor]) -> Tensor:
        scores = router(v[x]).squeeze(-1)
        best = scores.argmax(-1) if k % 2 else scores.topk(1, -1).indices.squeeze(-1)
        return v[x].gather(2, best[..., None, None].expand(-1, -1, 1, width)).squeeze(2)

    return Made(run, (width,))
