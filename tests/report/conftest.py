"""Output folders written by hand: what a run leaves, without the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reporting import CERTIFICATE, FACTS, LATENCY, STEPS, WIDTHS, plan

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write an output folder; files by name, None leaves one out, facts replace those of `FACTS`."""

    def written(files: dict[str, str | None] | None = None, **facts: Any) -> Path:
        folder = tmp_path / "out"
        contents: dict[str, str | None] = {
            "plan.json": plan(**WIDTHS),
            "metrics.jsonl": "".join(json.dumps(row) + "\n" for row in STEPS),
            "latency.json": json.dumps(LATENCY),
            "certificate.json": json.dumps(CERTIFICATE),
            "model.safetensors": "w" * 4000,
            "student.pt2": "p",
            "onnx/model.onnx": "o",
            "tokenizer_config.json": "{}",
            **(files or {}),
        }
        kept = {name: content for name, content in contents.items() if content is not None}
        for name, content in kept.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content, encoding="utf-8")
        told = {name: fact for name, fact in {**FACTS, **facts}.items() if fact is not None}
        data = {"format": "fxprune output", "version": 1, "fxprune": "0.1.0", **told, "files": sorted(kept)}
        (folder / "fxprune.json").write_text(json.dumps(data), encoding="utf-8")
        return folder

    return written
