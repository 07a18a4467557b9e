"""Where benchmarks that train read their text."""

from __future__ import annotations

from pathlib import Path

from fxprune.distillation.data import DEFAULT_DATASET


def wikipedia(data: Path | None) -> str:
    """Return the data set: a folder of parquet files in `data`, or Wikipedia on the hub."""
    return ":".join(DEFAULT_DATASET) if data is None else str(data / "wikipedia_en")
