"""int8 versions of the graphs that generate: the weights a token reads are a quarter of the bytes."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fxprune.atomic import move_files
from fxprune.deploy.agreement import Agreement, agreement
from fxprune.deploy.generation.proof import Trial, compared, source_of, walked
from fxprune.deploy.generation.settings import ENCODER, int8_name
from fxprune.deploy.int8 import Int8Export, export_int8
from fxprune.deploy.ort import open_session

if TYPE_CHECKING:
    from torch import Tensor

    from fxprune.deploy.generation.writing import GenerationExport


def quantise(written: GenerationExport, folder: Path, *, tables: bool = True) -> GenerationExport:
    """Write an int8 version of every graph, with scales found while it runs.

    Args:
        written: float32 graphs, which have been proved.
        folder: where ``decoder_with_past.int8.onnx``, or ``encoder.int8.onnx`` and ``decoder.int8.onnx``, will be.
        tables: see `export_int8`.
    Returns:
        The same with `int8` and `int8_agreement`.
    Raises:
        DeployError: ONNX Runtime cannot quantise or run a graph.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".int8-") as temporary:
        stage = Path(temporary)
        made = {
            int8_name(name): export_int8(graph.path, stage / int8_name(name), _steps(written, name), tables=tables)
            for name, graph in written.graphs.items()
        }
        found = _agreement(made, written.trials)
        move_files(stage, folder)
    return replace(written, int8={name: _moved(export, folder) for name, export in made.items()}, int8_agreement=found)


def _steps(written: GenerationExport, name: str) -> list[dict[str, Tensor]]:
    """Return what a float32 graph is fed on the way through the texts it was proved on."""
    if name == ENCODER:
        return [_tensors(source_of(trial)) for trial in written.trials]
    session = open_session(written.graphs[name].path)
    encoder = open_session(written.graphs[ENCODER].path) if ENCODER in written.graphs else None
    return [_tensors(fed) for trial in written.trials for fed, _ in walked(session, trial, encoder)]


def _agreement(made: dict[str, Int8Export], trials: tuple[Trial, ...]) -> Agreement:
    """Compare logits, each step upon the past that int8 steps have made, with those of the model without a cache."""
    sessions = {name: open_session(export.path) for name, export in made.items()}
    encoder = sessions.pop(int8_name(ENCODER), None)
    (session,) = sessions.values()
    return agreement(compared(session, trial, encoder) for trial in trials)


def _tensors(fed: Any) -> dict[str, Tensor]:
    return {
        name: torch.from_numpy(value if isinstance(value, np.ndarray) else value.numpy()) for name, value in fed.items()
    }


def _moved(export: Int8Export, folder: Path) -> Int8Export:
    return replace(export, path=folder / export.path.name, files=tuple(folder / file.name for file in export.files))
