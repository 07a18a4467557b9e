"""A model that generates, exported once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from generating import build

from fxprune.deploy.generation.writing import GenerationExport, export_generation


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, GenerationExport]:
    """A decoder with grouped queries, its folder and what was said of it; tests leave all of it as it is."""
    model, folder = build("llama"), tmp_path_factory.mktemp("llama")
    return model, folder, export_generation(model, folder / "onnx")
