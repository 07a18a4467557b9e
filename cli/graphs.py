"""Models by name, as graphs: hub names, folders, the demo, exported programs, and ONNX files beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch.export import ExportedProgram

from fxprune.api import capture, load
from fxprune.cli import render
from fxprune.deploy.bundle import GRAPH, origin_of
from fxprune.deploy.competitors import Competitor
from fxprune.deploy.onnx import export_onnx
from fxprune.deploy.pt2 import load_program
from fxprune.errors import CaptureError, SourceError, UsageError
from fxprune.exported import examples_of
from fxprune.origin import only_batch
from fxprune.preprocessors import load_preprocessor, takes_images
from fxprune.shapes import length_of, resized
from fxprune.sources import example_inputs, load_model
from fxprune.traced import Traced
from fxprune.unread import unread_note

Examples = Mapping[str, Any]
PROGRAM = ".pt2"
ONNX = ".onnx"
LENGTH = 128  # tokens of what is timed, where a model fixes its length


@dataclass(frozen=True, slots=True)
class Opened:
    """A captured model, inputs it runs on, and its tokenizer or image processor."""

    name: str
    traced: Traced
    examples: Examples
    tokenizer: Any | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """What a name stands for, before it is captured."""

    model: nn.Module | ExportedProgram
    examples: Examples
    tokenizer: Any | None


def open_model(name: str) -> Given:
    """Load a model, or the exported program of a `.pt2` file or of a folder that holds no more than that.

    Raises:
        SourceError: there is no such model.
    """
    if (file := _program_file(name)) is not None:
        program = load_program(file)
        return Given(program, examples_of(program), None)
    source = load_model(name)
    preprocessor = load_preprocessor(source) if takes_images(source) else source.tokenizer  # text may come without
    return Given(source.model, example_inputs(source.model, preprocessor), preprocessor)


def _program_file(name: str) -> Path | None:
    path = Path(name).expanduser()
    if name.endswith(PROGRAM):
        return path
    saved = path / GRAPH
    return saved if saved.is_file() and not (path / "config.json").is_file() else None


def open_graph(name: str, length: int | None = None) -> Opened:
    """Load and capture a model; a folder with nothing but a saved graph gives that.

    Args:
        name: hub name, folder, exported program, or 'demo'.
        length: see `capture`.
    Raises:
        SourceError: there is no such model.
        CaptureError: it cannot be captured.
    """
    if Path(name).expanduser().is_dir() and _program_file(name) is not None:
        traced = load(name)
        assert isinstance(traced, Traced)
        return Opened(name, traced, origin_of(traced).example_kwargs)
    given = open_model(name)
    traced = captured(given, length)
    return Opened(name, traced, origin_of(traced).example_kwargs, given.tokenizer)


def captured(given: Given, length: int | None = None) -> Traced:
    """Capture a model, and tell which of its parameters the graph does not read, and whether its batch is fixed.

    Raises:
        CaptureError: it cannot be captured.
    """
    traced = capture_rows(given.model, given.examples, length)
    if (rows := only_batch(traced)) is not None and isinstance(given.model, nn.Module):
        render.say(f"the batch cannot stay free: the graph takes {rows} row{'s' if rows > 1 else ''}")
    if note := unread_note(given.model, traced):
        render.say(note)
    return traced


def capture_rows(model: nn.Module | ExportedProgram, examples: Examples, length: int | None = None) -> Traced:
    """Capture a model; one whose batch cannot stay free is captured for one row.

    Raises:
        CaptureError: it cannot be captured.
    """
    traced = capture(model, examples, length=length)
    rows = only_batch(traced)
    if rows is None or rows == 1 or not isinstance(model, nn.Module):
        return traced
    one = resized(examples, 1, length_of(examples) or 1)
    try:
        return capture(model, one, length=length)
    except CaptureError:
        return traced


def competitors(names: Sequence[str], folder: Path) -> list[Competitor]:
    """Return models and ONNX files as ONNX files; models are exported to `folder`, and checked against PyTorch.

    Raises:
        UsageError: a name stands twice.
        SourceError: there is no such model or file.
    """
    if len(set(names)) < len(names):
        raise UsageError("the same model stands twice", remedy="name each model once")
    missing = [name for name in names if name.endswith(ONNX) and not Path(name).is_file()]
    if missing:
        raise SourceError(f"there is no ONNX file {missing[0]!r}", remedy="check the path, or `fxprune export` it")
    return [_competitor(name, folder / f"{place}{ONNX}") for place, name in enumerate(names)]


def _competitor(name: str, file: Path) -> Competitor:
    if name.endswith(ONNX):
        return Competitor(name=name, path=Path(name))
    render.say(f"exporting {name}")
    opened = open_graph(name, LENGTH)
    done = export_onnx(opened.traced, opened.examples, file)
    return Competitor(name=name, path=done.path, examples=opened.examples, pytorch_error=done.max_error)
