"""The optimizer of a run: Adam as in the paper, more slowly on tables that are only looked up in."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import AdamW

from fxprune.distillation.config import DistillConfig
from fxprune.traced import Traced, tensor_of

EMBEDDING = torch.ops.aten.embedding.default


def make_optimizer(traced: Traced, config: DistillConfig) -> AdamW:
    """Adam as in the paper (0.9, 0.999, 1e-6); decay spares vectors, and looked-up tables learn more slowly.

    A row of a table has a gradient in the few steps that show its token, and Adam answers the first ones with steps of
    many times the learning rate: rare tokens would be moved far, by chance. A table that is also multiplied with (tied
    to a language-model head) has a gradient in every step.
    """
    trained = [parameter.requires_grad_(True) for parameter in traced.parameters() if parameter.is_floating_point()]
    tables = {id(tensor_of(traced, name)) for name in _looked_up(traced)}
    matrices = [p for p in trained if p.ndim > 1 and id(p) not in tables]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay, "scale": 1.0},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0, "scale": 1.0},
        {"params": [p for p in trained if id(p) in tables], "weight_decay": 0.0, "scale": config.table_rate},
    ]
    return AdamW([group for group in groups if group["params"]], lr=config.learning_rate, betas=(0.9, 0.999), eps=1e-6)


def _looked_up(traced: Traced) -> list[str]:
    """Return the parameters that are only ever picked from, row by row."""
    readers = [node for node in traced.graph.nodes if node.op == "get_attr"]
    return [
        str(node.target)
        for node in readers
        if node.users and all(user.target is EMBEDDING and user.args[0] is node for user in node.users)
    ]
