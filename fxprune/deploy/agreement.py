"""How well two runs of a model agree, where they are not meant to be equal: another precision, another runtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fxprune.deploy.parity import worst_error

_LOGITS = "logits"  # the outputs of which the largest entry is the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far outputs are from those they stand for.

    Attributes:
        max_error: largest difference, relative to the largest value of its output.
        cosine: mean over all rows of the last axis, of the output where it is least; 1.0 is equal.
        top1: share of the rows of logits whose largest entry is at the same place; None without logits.
    """

    max_error: float
    cosine: float
    top1: float | None


def agreement(pairs: Iterable[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]) -> Agreement:
    """Compare (got, want) over several runs.

    Raises:
        DeployError: names or shapes differ.

    >>> one = {"logits": torch.tensor([[1.0, 2.0], [4.0, 3.0]])}
    >>> two = {"logits": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}
    >>> agreement([(two, one)])
    Agreement(max_error=0.25, cosine=0.98, top1=0.5)
    """
    worst, cosines, hits = 0.0, dict[str, list[Tensor]](), list[Tensor]()
    for got, want in pairs:
        worst = max(worst, worst_error(got, want))
        for name, value in want.items():
            if not value.is_floating_point() or not value.ndim or not value.numel():
                continue
            cosines.setdefault(name, []).append(_cosines(got[name], value))
            if _LOGITS in name:
                hits.append((got[name].argmax(-1) == value.argmax(-1)).flatten().double())
    means = [torch.cat(rows).mean().item() for rows in cosines.values()]
    return Agreement(
        max_error=round(worst, 6),
        cosine=round(min(means, default=1.0), 6),
        top1=round(torch.cat(hits).mean().item(), 6) if hits else None,
    )


def _cosines(got: Tensor, want: Tensor) -> Tensor:
    """Return the cosine of each row, 1 where both are zero."""
    a, b = (value.double().reshape(-1, value.shape[-1]) for value in (got, want))
    return torch.where((a == b).all(-1), 1.0, torch.cosine_similarity(a, b, dim=-1)).flatten()
