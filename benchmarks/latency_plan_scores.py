"""Scores after the same short distillation: all-MiniLM-L6-v2 with widths chosen by latency, and with uniform ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from common import markdown_table
from minilm import arm, minilm, spearman, sts_rows
from texts import wikipedia

from fxprune.distillation.config import DistillConfig
from fxprune.sources import load_model

TARGET, AT = "9M", "8x128"
COLUMNS = ("seed", "params", "spearman", "spearman mapped", "hidden error")


def scores(data: Path | None, steps: int, seeds: int, *, as_json: bool) -> str:
    """Distil twice for each seed, with equal steps, text and parameters, and return a table."""
    torch.set_num_threads(1)
    source = load_model(minilm())
    rows, text = sts_rows(data), wikipedia(data)
    found: list[dict[str, Any]] = [{"arm": "teacher", "spearman": spearman(source.model, source, rows)}]
    how: dict[str, Any] = {"target_params": TARGET, "max_steps": steps, "batch_size": 32, "length": 32, "device": "cpu"}
    how["learning_rate"] = 1e-3
    for seed in range(seeds):
        for name, purpose in (("by latency", {"optimise_for": "latency", "at": AT}), ("uniform", {})):
            found.append(arm(source, text, rows, DistillConfig(**how, **purpose, seed=seed), name))  # type: ignore[arg-type]
    if as_json:
        return json.dumps(found, indent=2)
    lines = [["arm", *COLUMNS], *([row["arm"], *(_shown(row.get(column)) for column in COLUMNS)] for row in found)]
    return f"all-MiniLM-L6-v2 to {TARGET} in {steps} steps of 1,024 tokens\n\n{markdown_table(lines)}"


def _shown(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else ""
