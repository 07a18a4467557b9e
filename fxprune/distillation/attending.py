"""Attention scores of one model at a tap, and which of them count.

Axes of tensors: b batch, h heads, s length of the queries, k of the keys, e head dims.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fxprune.distillation.losses import seen_by, seen_in
from fxprune.distillation.taps import AttentionTap

Values = Callable[[str], Tensor]  # what a model computed at a node


def scores_at(tap: AttentionTap, values: Values, heads: Tensor | None = None) -> Tensor:
    """Return the scores (b, h, s, k), of `heads` alone if there are any."""
    first, *keys = map(values, tap.sources)
    if not keys:
        return first if heads is None else first[:, heads]
    query, key = first, keys[0]
    if tap.written_out:
        key = key.transpose(-1, -2)
        if query.ndim == 3 and tap.mask is not None:
            batch = len(values(tap.mask))
            query, key = query.unflatten(0, (batch, -1)), key.unflatten(0, (batch, -1))
    served = query.shape[-3] // key.shape[-3]  # query heads a key head serves
    key = key if served == 1 else key.repeat_interleave(served, -3)
    query, key = (query, key) if heads is None else (query[:, heads], key[:, heads])
    return query @ key.transpose(-1, -2) * tap.scale


def seen_at(tap: AttentionTap, values: Values, scores_bhsk: Tensor, heads: Tensor | None = None) -> Tensor | None:
    """Return which scores a softmax sees: bool, broadcastable to them; None if it sees all."""
    mask = None if tap.mask is None else values(tap.mask)
    if mask is not None and heads is not None and mask.shape[-3:-2] not in ((), (1,)):
        mask = mask[..., heads, :, :]
    return seen_in(mask) if tap.written_out and mask is not None else seen_by(mask, tap.causal, scores_bhsk)
