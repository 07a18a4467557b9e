"""How similar a headless model finds sequences: the one term that compares the sequences of a batch with one another.

It is defined over the whole batch of a step, all pairs of it, however the batch is shared out. Parts therefore need the
vectors of the sequences they do not hold: `Peers`. Each part sees all pairs and moves its own sequences only, so the
gradients of the parts add up to that of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fxprune.distillation.batch import Batch
from fxprune.distillation.losses import similarity_loss
from fxprune.distillation.taps import FeatureTap

Vectors = tuple[Tensor, ...]  # (sequences, width) for each tap


@dataclass(frozen=True, slots=True)
class Peers:
    """The vectors of all sequences of a whole batch, without gradient."""

    student: Vectors
    teacher: Vectors


def returned_taps(hidden: Sequence[FeatureTap]) -> tuple[FeatureTap, ...]:
    """Return the taps of the features a model returns.

    A vector for the whole sequence counts only if there is nothing else: encoders carry poolers nobody trained.
    """
    returned = [tap for tap in hidden if tap.output]
    return tuple([tap for tap in returned if tap.sequence] or returned)


def pooled(values: Sequence[Tensor], taps: Sequence[FeatureTap], batch: Batch) -> Vectors:
    """Return the mean over the positions of each row that are no padding: (rows, width) from (rows, ..., width)."""
    return tuple(_pooled(value, tap, batch) for value, tap in zip(values, taps, strict=True))


def _pooled(value: Tensor, tap: FeatureTap, batch: Batch) -> Tensor:
    if value.ndim < 3:
        return value
    real = batch.real.get(tap.positions or "")
    if real is None and tap.positions == "input_ids":
        real = batch.inputs.get("attention_mask")
    if real is None:
        return value.flatten(1, -2).mean(1)
    return (value * real[..., None]).sum(1) / real.sum(1, keepdim=True)


def likeness(student: Vectors, teacher: Vectors, batch: Batch, peers: Peers | None) -> Tensor:
    """Return the error of the cosines between sequences, the share of it that belongs to a part of a batch.

    Args:
        student: of the part, with gradient.
        teacher: of the part.
        batch: the part.
        peers: of the whole; None: only the sequences of the part are compared.
    """
    terms = []
    for place, (s, t) in enumerate(zip(student, teacher, strict=True)):
        if peers is not None:
            others = peers.student[place]
            s = torch.cat([others[: batch.first], s, others[batch.first + batch.rows :]])
            t = peers.teacher[place]
        pairs = similarity_loss(s, t)
        # with peers the gradient is the part's own already; the value is the same in all parts: each tells its share
        terms.append(pairs * batch.share if peers is None else pairs - pairs.detach() * (1 - batch.share))
    return torch.stack(terms).mean()


def projection(values: Sequence[Tensor], taps: Sequence[FeatureTap], batch: Batch, seed: int) -> Tensor:
    """Project the features a model returns at random: the squared gradients sum to the Gauss-Newton curvature there.

    They are projected as their users see them, pooled over the sequence. Each sequence has its own projection, the same
    in whatever part of the batch it is.

    Args:
        values: one for each tap.
        taps: of all features to keep.
        batch: or a part of one.
        seed: of the projection, which must differ from step to step.
    """
    draws = torch.Generator().manual_seed(seed)
    sequences = [tap for tap in taps if tap.sequence] or taps
    terms = []
    for tap, value in zip(taps, values, strict=True):
        value = _pooled(value, tap, batch)
        value = value / (value.detach().norm(dim=-1, keepdim=True).clamp_min(1e-12) * batch.whole.rows**0.5)
        noise = torch.randn(batch.whole.rows, value.shape[-1], generator=draws)
        noise = noise[batch.first : batch.first + batch.rows].to(value.device)
        # without any gradient the units of a pooler would be cut arbitrarily: a thousandth decides among them
        terms.append((value * noise).sum() if tap in sequences else 1e-3 * value.sum())
    return torch.stack(terms).sum()
