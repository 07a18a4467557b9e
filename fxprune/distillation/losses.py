"""Loss terms: ``L = L_task + a1 L_KL + a2 L_hidden + a3 L_embedding + a4 L_attention``.

Axes of tensors: b batch, s length, k key position, h heads, e head dims, v vocabulary, d width.

Source:
    Liang et al. 2023 (HomoDistil), arXiv:2302.09632, equations 3 and 4; the attention term compares scores before
    the softmax, as Jiao et al. 2020 (TinyBERT), arXiv:1909.10351, found to work better.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

IGNORED = -100  # label of a position that takes no part
_NO_WEIGHT = 104.0  # below the largest score of a row: the softmax gives such a key exactly 0 in float32


def task_loss(logits_nv: Tensor, labels_n: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats over labelled positions; 0 where there is none."""
    labelled = (labels_n != IGNORED).sum().clamp_min(1)
    return F.cross_entropy(logits_nv, labels_n, ignore_index=IGNORED, reduction="sum") / labelled


def kl_loss(student_nv: Tensor, teacher_nv: Tensor) -> Tensor:
    """Return the mean KL(teacher || student) in nats over positions; 0 where there is none."""
    student, teacher = student_nv.log_softmax(-1), teacher_nv.log_softmax(-1)
    return F.kl_div(student, teacher, log_target=True, reduction="sum") / max(len(student), 1)


def feature_loss(mapped: Tensor, teacher: Tensor, variance: Tensor | None = None) -> Tensor:
    """Return the squared error relative to the teacher's variance: 0 is equal, 1 no better than the mean.

    Args:
        mapped: student features in the teacher's width, (..., d).
        teacher: (..., d).
        variance: of the teacher; within these features by default.
    """
    if variance is None:
        flat = teacher.flatten(0, -2)
        variance = (flat - flat.mean(0)).square().mean() if len(flat) > 1 else flat.square().mean()
    return (mapped - teacher).square().mean() / variance.clamp_min(1e-12)


def similarity_loss(student_bd: Tensor, teacher_bd: Tensor) -> Tensor:
    """Return the squared error of the cosines between the sequences of a batch, relative to the teacher's variance.

    Features without a head are compared with one another, so what must stay is which sequences are more similar than
    others; that needs no map between the widths, and a constant added to all cosines does not matter.

    Args:
        student_bd: one vector a sequence, (b, d').
        teacher_bd: likewise (b, d).
    Returns:
        0 for fewer than three sequences: one pair has no variance.
    Source:
        Park et al. 2019 (relational distillation), arXiv:1904.05068, with cosines for distances.
    """
    if len(student_bd) < 3:
        return student_bd.sum() * 0.0
    pairs = torch.triu_indices(len(student_bd), len(student_bd), 1)
    got, wanted = ((F.normalize(v, dim=-1) @ F.normalize(v, dim=-1).T)[*pairs] for v in (student_bd, teacher_bd))
    off = (got - got.mean()) - (wanted - wanted.mean())
    return off.square().mean() / wanted.var(correction=0).clamp_min(1e-12)


def attention_loss(
    student_bhsk: Tensor, teacher_bhsk: Tensor, seen: Tensor | None, powers_h: Tensor | None = None
) -> Tensor:
    """Return the squared error of attention scores relative to the teacher's variance, over positions that are seen.

    A softmax does not see a constant added to a row, so neither does this loss.

    Args:
        student_bhsk: scores, as a softmax over their last axis gets them.
        teacher_bhsk: of the head each student head was.
        seen: bool, broadcastable to (b, h, s, k); None if every key is seen.
        powers_h: mean square of the teacher's centred scores by head; of these sequences by default.
    """
    wanted, got = centred_scores(teacher_bhsk, seen), centred_scores(student_bhsk, seen)
    if powers_h is None:
        return (got - wanted).square().sum() / wanted.square().sum().clamp_min(1e-12)
    error_b = (got - wanted).square().flatten(1).sum(1)  # a mean of means: what a sequence counts, depends on no other
    return (error_b / _seen_scores(seen, wanted)).mean() / powers_h.mean().clamp_min(1e-12)


def centred_scores(scores_bhsk: Tensor, seen: Tensor | None) -> Tensor:
    """Return attention scores with mean 0 over the keys that are seen, and 0 for the others."""
    if seen is None:
        return scores_bhsk - scores_bhsk.mean(-1, keepdim=True)
    scores_bhsk = scores_bhsk.masked_fill(~seen, 0.0)
    mean = scores_bhsk.sum(-1, keepdim=True) / seen.sum(-1, keepdim=True).clamp_min(1)
    return (scores_bhsk - mean) * seen


def _seen_scores(seen: Tensor | None, scores_bhsk: Tensor) -> Tensor | int:
    """Return how many scores of each sequence are seen."""
    if seen is None:
        return scores_bhsk[0].numel()
    return seen.expand(scores_bhsk.shape).flatten(1).sum(1).clamp_min(1)


def looked_at(seen: Tensor | None, real: Tensor | None) -> Tensor | None:
    """Leave out the rows of queries that are padding: `seen` as `seen_by` returns it, real (b, s) bool."""
    if real is None:
        return seen
    rows = real[:, None, :, None]
    return rows if seen is None else seen & rows


def seen_by(mask: Tensor | None, causal: bool, scores_bhsk: Tensor) -> Tensor | None:
    """Return which keys each query attends to: from a bool mask, an additive one, or the causal order."""
    seen = None
    if mask is not None:
        seen = mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
    if causal:
        order = torch.ones(scores_bhsk.shape[-2:], dtype=torch.bool, device=scores_bhsk.device).tril()
        seen = order if seen is None else seen & order
    return _unless_all(seen)


def seen_in(scores_bhsk: Tensor) -> Tensor | None:
    """Return which keys have a weight at all, of scores that hold the mask."""
    return _unless_all(scores_bhsk > scores_bhsk.amax(-1, keepdim=True) - _NO_WEIGHT)


def _unless_all(seen: Tensor | None) -> Tensor | None:
    return None if seen is None or bool(seen.all()) else seen
