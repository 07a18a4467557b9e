"""Shipping an entry of the zoo: an ONNX file, and a folder its own library loads, each compared with the slim model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

import fxprune
from fxprune.deploy.onnx import OnnxExport, export_onnx
from fxprune.errors import FxpruneError
from fxprune.shapes import second_shape
from fxprune.traced import Traced
from zoo.cutting import difference
from zoo.entry import Inputs

CLOSE = 1e-4  # relative, of another runtime or a reloaded model


def onnx_of(slim: Traced, inputs: Inputs, folder: Path) -> OnnxExport:
    """Write the ONNX file, which is checked in ONNX Runtime at three shapes.

    Raises:
        FxpruneError: no file agrees with PyTorch.
    """
    return export_onnx(slim, inputs, folder / "model.onnx", tolerance=CLOSE)


def reload_error(model: nn.Module, slim: Traced, inputs: Inputs, folder: Path) -> float:
    """Save a slim model and return how far what plain ``from_pretrained`` loads is from it, at two shapes.

    Raises:
        FxpruneError: no config of the class expresses it.
    """
    slim.save(folder)
    if not (folder / "config.json").is_file():
        raise FxpruneError(_reason(json.loads((folder / "fxprune.json").read_text())))
    loaded = type(model).from_pretrained(folder).eval()
    loaded.config.use_cache = False
    shapes = (inputs, second_shape(inputs, dict(slim.provenance.dynamic) or None))
    return max(difference(slim, loaded, kwargs) for kwargs in shapes)


def bundle_error(slim: Traced, inputs: Inputs, folder: Path) -> float:
    """Return how far what `fxprune.load` makes of a saved folder is from the slim model."""
    return difference(fxprune.load(folder), slim, inputs)


def _reason(facts: dict[str, Any]) -> str:
    return str(facts.get("failures", {}).get("hugging_face", "the folder holds no config"))
