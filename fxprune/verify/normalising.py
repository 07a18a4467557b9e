"""Ops that normalise, over the kept positions only: what they compute once the others are gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def _count(mask: Tensor, dims: list[int]) -> int:
    """How many kept positions a value normalises over; the same for each row that is kept at all."""
    return int(mask.sum(dims).max())


def _layer_norm(
    mask: Tensor, x: Tensor, shape: list[int], weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Tensor:
    dims = list(range(-len(shape), 0))
    n = _count(mask, dims)
    centred = (x - x.sum(dims, keepdim=True) / n) * mask
    out = centred * torch.rsqrt(centred.square().sum(dims, keepdim=True) / n + eps)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


def _rms_norm(mask: Tensor, x: Tensor, shape: list[int], weight: Any = None, eps: float | None = None) -> Tensor:
    dims = list(range(-len(shape), 0))
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    out = x * torch.rsqrt(x.square().sum(dims, keepdim=True) / _count(mask, dims) + eps)
    return out if weight is None else out * weight


def _group_norm(
    mask: Tensor, x: Tensor, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Tensor:
    laid, kept = (tensor.reshape(x.shape[0], groups, -1) for tensor in (x, mask))
    n = _count(kept, [2]) if x.shape[0] else 1
    centred = (laid - laid.sum(2, keepdim=True) / n) * kept
    out = (centred * torch.rsqrt(centred.square().sum(2, keepdim=True) / n + eps)).reshape(x.shape)
    channels = [1, -1, *[1] * (x.ndim - 2)]
    out = out if weight is None else out * weight.view(channels)
    return out if bias is None else out + bias.view(channels)


def _weight_norm(mask: Tensor, v: Tensor, length: Tensor, dim: int = 0) -> Tensor:
    others = [other for other in range(v.ndim) if other != dim % v.ndim]
    return v * mask * (length / (v * mask).square().sum(others, keepdim=True).sqrt())


def _mean(mask: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    dims = _dims(dim, x)
    return x.sum(dims, keepdim=keepdim, dtype=dtype) / _count(mask, dims)


def _var(mask: Tensor, x: Tensor, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Tensor:
    dims = _dims(dim, x)
    n = _count(mask, dims)
    centred = (x - x.sum(dims, keepdim=True) / n) * mask
    return centred.square().sum(dims, keepdim=keepdim) / (n - (1 if correction is None else correction))


def _std(mask: Tensor, x: Tensor, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Tensor:
    return _var(mask, x, dim, correction=correction, keepdim=keepdim).sqrt()


def _var_dim(mask: Tensor, x: Tensor, dim: Any = None, unbiased: bool = True, keepdim: bool = False) -> Tensor:
    return _var(mask, x, dim, correction=int(unbiased), keepdim=keepdim)


def _std_dim(mask: Tensor, x: Tensor, dim: Any = None, unbiased: bool = True, keepdim: bool = False) -> Tensor:
    return _std(mask, x, dim, correction=int(unbiased), keepdim=keepdim)


def _dims(dim: Any, x: Tensor) -> list[int]:
    return [dim] if isinstance(dim, int) else list(dim or range(x.ndim))


NORMALISING: Mapping[Any, Callable[..., Tensor]] = {
    aten.layer_norm.default: _layer_norm,
    aten.rms_norm.default: _rms_norm,
    aten.group_norm.default: _group_norm,
    aten._weight_norm.default: _weight_norm,
    aten.mean.dim: _mean,
    aten.var.correction: _var,
    aten.var.dim: _var_dim,
    aten.std.correction: _std,
    aten.std.dim: _std_dim,
}
