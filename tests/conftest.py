"""Fixtures all tests share."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from remembering import remembered

torch.set_num_threads(1)  # as under `make test`: sums in another order are other losses after a few steps


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Every test starts from the same seed."""
    random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="module")
def _captures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Capture equal models once, but where capture itself is tested."""
    if any(mark.name == "captures" for mark in getattr(request.node, "own_markers", ())):
        yield
    else:
        with remembered():
            yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data sets and models."""
    folder = Path(os.environ.get("FXPRUNE_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip("no shared data beside the repository; set FXPRUNE_SHARED to its folder")
    return folder
