"""What rewriting saves: the same run with rewrites and with masks, step by step in turn on one thread."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from paper_arms import ARMS, HOMOTOPIC
from paper_run import Setting, source_of

from fxprune.atomic import atomic_write
from fxprune.distillation.run import prepare


def rewriting_cost(setting: Setting, steps: int, folder: Path) -> dict[str, Any]:
    """Return the seconds of both runs, kept in `folder`; a busy machine meets both alike: their steps alternate."""
    file = folder / setting.label / "cost.json"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(file, json.dumps(_measured(setting, steps)) + "\n")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def _measured(setting: Setting, steps: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    source = source_of(setting.model)
    arms = {"rewritten": HOMOTOPIC, "masked": next(arm for arm in ARMS if arm.schedule.get("rewrite_every") == 0)}
    runs = {
        name: prepare(
            source.model, source.tokenizer, setting.dataset, arm.config(**{**setting.options(0), "max_steps": steps})
        )
        for name, arm in arms.items()
    }
    streams = {name: run.steps() for name, run in runs.items()}
    seconds = dict.fromkeys(runs, 0.0)
    for step in range(steps):
        for name in list(streams)[:: -1 if step % 2 else 1]:
            began = time.perf_counter()
            next(streams[name])
            if setting.device == "cuda":
                torch.cuda.synchronize()
            seconds[name] += time.perf_counter() - began
    return {"setting": setting.label, "steps": steps, **seconds, "ratio": seconds["rewritten"] / seconds["masked"]}
