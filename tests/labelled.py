"""Small data sets with labels, tags, pairs and images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from text import sentences


def write_rows(folder: Path, rows: list[dict[str, Any]], name: str = "rows.jsonl") -> str:
    path = folder / name
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def classified(folder: Path, n: int = 120) -> str:
    """Sentences; the label says whether there is a cat."""
    return write_rows(folder, [{"idx": i, "sentence": s, "label": int("cat" in s)} for i, s in enumerate(sentences(n))])


def compared(folder: Path, n: int = 120) -> str:
    """Pairs of sentences; the label says which of them is longer."""
    pairs = zip(sentences(n), sentences(n, seed=1), strict=True)
    return write_rows(folder, [{"premise": a, "hypothesis": b, "label": int(len(a) > len(b))} for a, b in pairs])


def scored(folder: Path, n: int = 120) -> str:
    """Sentences and a number."""
    return write_rows(folder, [{"text": s, "score": len(s) / 100} for s in sentences(n)])


def tagged(folder: Path, n: int = 120) -> str:
    """Words and the class of each."""
    words = [s.replace(".", " .").split() for s in sentences(n)]
    return write_rows(folder, [{"tokens": row, "ner_tags": [len(word) % 3 for word in row]} for row in words])


def summarised(folder: Path, n: int = 120) -> str:
    """Texts and their first sentences."""
    return write_rows(folder, [{"document": s, "summary": s.split(".")[0]} for s in sentences(n)])


def pictures(folder: Path, n: int = 12, size: tuple[int, int] = (30, 20)) -> str:
    """A folder of bright and dark images of noise, each class in a folder of its own."""
    from PIL import Image

    draw = np.random.default_rng(0)
    for i in range(n):
        kind = ("bright", "dark")[i % 2]
        (folder / "images" / kind).mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 100, (*size, 3), dtype=np.uint8) + (150 if kind == "bright" else 0)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / kind / f"{i}.png")
    return str(folder / "images")
