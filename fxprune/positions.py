"""How many tokens the position table of a model holds."""

from __future__ import annotations

from typing import Any

from torch import nn


def position_rows(model: nn.Module, config: Any = None) -> int | None:
    """Return the most tokens the learned position table of `model` takes; None if it has none that its config names.

    A table with a padding row counts from behind it.

    Args:
        model: any module.
        config: what names `max_position_embeddings`; default: `model.config`.
    """
    rows = named_positions(getattr(model, "config", None) if config is None else config)
    tables = [m for m in model.modules() if isinstance(m, nn.Embedding) and m.num_embeddings == rows]
    if rows is None or not tables:
        return None
    return rows - max((m.padding_idx + 1 for m in tables if m.padding_idx is not None), default=0)


def named_positions(config: Any) -> int | None:
    """Return what a config, or that of its text part, says of the longest text; also where no table bounds it."""
    text = getattr(config, "get_text_config", None)
    rows = getattr(text() if text is not None else config, "max_position_embeddings", None)
    return rows if isinstance(rows, int) and rows > 0 else None
