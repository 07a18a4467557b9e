"""Losses of predictions, a chunk of positions at a time, forward and backward.

The logits of n positions over v words are the largest tensors of a run, and a loss makes several copies of them. Here
the head (the ops behind the picked positions, see `PickPositions`) runs on as many positions as make `CHUNK` logits.
The gradients of both losses are known in closed form, ``d CE / d logits = p_s - onehot`` and
``d KL(t || s) / d logits = p_s - p_t``, so each chunk goes back through the head at once, and no logits stay.

Axes of tensors: n position, v word or class, d width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.fx import Node
from torch.fx.node import map_arg

from fxprune.distillation.objective import Objective
from fxprune.distillation.taps import Taps
from fxprune.inference import output_values
from fxprune.passes.pick_positions import head_of, picked_head
from fxprune.traced import Traced, tensor_of

CHUNK = 2**23  # logits at a time; about five copies of them live: 160 MiB in float32


@dataclass(frozen=True, slots=True)
class Head:
    """What computes logits of single positions; by default, they are given."""

    apply: Callable[[Tensor], Tensor] = lambda rows: rows
    weights: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, model: Traced) -> Head:
        """Return the head of a graph that picks positions, as its weights are now."""
        picked, nodes = picked_head(model)
        held = {
            n: tensor_of(model, str(n.target)) for node in nodes for n in node.all_input_nodes if n.op == "get_attr"
        }

        def apply(rows: Tensor) -> Tensor:
            values: dict[Node, Tensor] = {**held, picked: rows}
            value = rows
            for node in nodes:
                args, kwargs = map_arg((node.args, node.kwargs), values.__getitem__)
                value = values[node] = node.target(*args, **kwargs)  # type: ignore[operator]
            return value

        trained = {id(weight): weight for weight in held.values() if weight.requires_grad}
        return cls(apply, tuple(trained.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What the predictions of a student are compared with.

    Attributes:
        head: of the student.
        labels_n: word or class of each position.
        draws_n: instead, numbers from 0 to 1 that labels are drawn with from what the student predicts.
        teacher: its head and what goes in, (n, d); None: there is no KL.
        words: v.
        count: positions the mean is over: more than n, where these are a part of a batch. None: n.
    """

    head: Head
    labels_n: Tensor | None
    teacher: tuple[Head, Tensor] | None
    words: int
    count: int | None = None
    draws_n: Tensor | None = None

    def losses(self, rows_nd: Tensor, *, task: float = 1.0, kl: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return (task, KL): mean cross-entropy and mean KL(teacher || student) in nats; 0 without positions.

        Args:
            rows_nd: what goes into the head of the student.
            task: weight of the cross-entropy in the total. The gradient of the total is made on the way forward; any
                other total is possible, and costs a second pass.
            kl: weight of the KL.
        """
        weights = (task, kl) if torch.is_grad_enabled() else None
        values: tuple[Tensor, Tensor] = _Losses.apply(self, weights, rows_nd, *self.head.weights)
        return values

    def labels(self, chunk: slice, logp_nv: Tensor) -> Tensor:
        """Return the labels of a chunk."""
        if self.labels_n is not None:
            return self.labels_n[chunk]
        assert self.draws_n is not None
        reached = logp_nv.exp().cumsum(-1)
        return torch.searchsorted(reached, self.draws_n[chunk, None] * reached[:, -1:]).clamp_max(self.words - 1)[:, 0]

    def chunks(self, total: int) -> list[slice]:
        """Cut so many positions."""
        size = max(1, CHUNK // self.words)
        return [slice(i, min(i + size, total)) for i in range(0, total, size)]


class _Losses(torch.autograd.Function):
    """Both losses, and on the way the gradient of their weighted sum."""

    @staticmethod
    def forward(
        ctx: Any, what: Predictions, weights: tuple[float, float] | None, rows: Tensor, *head: Tensor
    ) -> tuple[Tensor, Tensor]:
        sums, grads = _pass(what, rows, weights)
        ctx.what, ctx.weights, ctx.grads = what, weights, grads
        ctx.save_for_backward(rows)
        return sums[0], sums[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, task: Tensor, kl: Tensor) -> tuple[Tensor | None, ...]:
        asked = (float(task), float(kl))
        scale = max(asked[0], asked[1], key=abs) / (max(ctx.weights, key=abs) or 1.0)
        grads = ctx.grads
        if any(abs(a - scale * w) > 1e-6 * abs(a) for a, w in zip(asked, ctx.weights, strict=True)):
            scale, (_, grads) = 1.0, _pass(ctx.what, ctx.saved_tensors[0], asked)
        return None, None, *(grad if scale == 1.0 else grad * scale for grad in grads)


def _pass(what: Predictions, rows: Tensor, weights: tuple[float, float] | None) -> tuple[Tensor, list[Tensor]]:
    """Return both losses, and the gradients of their weighted sum for `rows` and the weights of the head."""
    n = max(len(rows) if what.count is None else what.count, 1)
    sums = torch.zeros(2, device=rows.device)
    grads = [] if weights is None else [torch.zeros_like(tensor) for tensor in (rows, *what.head.weights)]
    for chunk in what.chunks(len(rows)):
        with torch.set_grad_enabled(weights is not None):
            part = rows[chunk].detach().requires_grad_(weights is not None)
            logits = what.head.apply(part)
        logp, gap, wanted = _compared(what, logits.detach(), chunk)
        labels = what.labels(chunk, logp)
        sums[0] -= logp.gather(-1, labels[:, None]).sum()
        if gap is not None and wanted is not None:
            sums[1] += gap.mul_(wanted).sum()
        if weights is None:
            continue
        slope = _slope(logp, wanted, labels, weights).div_(n).to(logits.dtype)
        made = torch.autograd.grad(logits, (part, *what.head.weights), slope)
        grads[0][chunk] = made[0]
        for total, grad in zip(grads[1:], made[1:], strict=True):
            total += grad
    return sums / n, grads


def _compared(what: Predictions, logits: Tensor, chunk: slice) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return log p of the student, and of the teacher log p minus that, and p; all (m, v) in float32."""
    logp = logits.float().log_softmax(-1)
    if what.teacher is None:
        return logp, None, None
    head, rows = what.teacher
    gap = head.apply(rows[chunk]).float().log_softmax(-1)
    wanted = gap.exp()
    return logp, gap.sub_(logp), wanted


def _slope(logp: Tensor, wanted: Tensor | None, labels: Tensor, weights: tuple[float, float]) -> Tensor:
    """Return the gradient of ``task * CE + kl * KL`` for the logits; takes the place of `logp`."""
    task, kl = weights
    slope = logp.exp_().mul_(task + (0.0 if wanted is None else kl))
    if wanted is not None:
        slope.sub_(wanted, alpha=kl)
    return slope.scatter_add_(-1, labels[:, None], slope.new_full((len(labels), 1), -task))


def head_source(model: Traced, objective: Objective, taps: Taps) -> str | None:
    """Return the value a head is computed from, where it can be told apart; a tapped value is not inside of it."""
    head = [] if objective.logits is None else head_of(output_values(model)[objective.logits])
    alone = list(takewhile(lambda step: step[0].name not in taps.nodes, head))
    return alone[-1][1].name if alone else None
