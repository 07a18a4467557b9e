"""Models by name, as graphs: hub names, folders, the demo, exported programs, and ONNX files beside them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from fxprune.api import capture, load
from fxprune.cli import render
from fxprune.deploy.bundle import GRAPH, origin_of
from fxprune.deploy.external_data import check_external_data
from fxprune.deploy.latency import LatencyRow, latency_table
from fxprune.deploy.onnx import export_onnx
from fxprune.deploy.ort import open_session
from fxprune.deploy.pt2 import load_program
from fxprune.errors import SourceError, UsageError
from fxprune.exported import examples_of
from fxprune.sources import example_inputs, load_model
from fxprune.traced import Traced

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Examples = Mapping[str, Any]
PROGRAM = ".pt2"
_KINDS = {"tensor(int64)": torch.int64, "tensor(int32)": torch.int32, "tensor(float)": torch.float32}
_FREE = (5, 13)  # of the inputs made up for an ONNX file: batch, and every other free size


@dataclass(frozen=True, slots=True)
class Opened:
    """A captured model, and inputs it runs on."""

    name: str
    traced: Traced
    examples: Examples


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
    return Given(source.model, example_inputs(source.model, source.tokenizer), source.tokenizer)


def _program_file(name: str) -> Path | None:
    path = Path(name).expanduser()
    if name.endswith(PROGRAM):
        return path
    saved = path / GRAPH
    return saved if saved.is_file() and not (path / "config.json").is_file() else None


def open_graph(name: str) -> Opened:
    """Load and capture a model; a folder with nothing but a saved graph gives that.

    Raises:
        SourceError: there is no such model.
        CaptureError: it cannot be captured.
    """
    if Path(name).expanduser().is_dir() and _program_file(name) is not None:
        traced = load(name)
        assert isinstance(traced, Traced)
        return Opened(name, traced, origin_of(traced).example_kwargs)
    given = open_model(name)
    return Opened(name, capture(given.model, given.examples), given.examples)


def time_models(names: Sequence[str], grid: Sequence[tuple[int, int]], threads: Sequence[int]) -> list[LatencyRow]:
    """Measure models and ONNX files in turn; models are exported first, and checked against PyTorch.

    Raises:
        UsageError: a name stands twice, or the models take different inputs.
    """
    if len(set(names)) < len(names):
        raise UsageError("the same model stands twice", remedy="name each model once")
    missing = [name for name in names if name.endswith(".onnx") and not Path(name).is_file()]
    if missing:
        raise SourceError(f"there is no ONNX file {missing[0]!r}", remedy="check the path, or `fxprune export` it")
    files: dict[str, Path] = {}
    found: list[Examples] = []
    with tempfile.TemporaryDirectory() as folder:
        for place, name in enumerate(names):
            if name.endswith(".onnx"):
                files[name] = Path(name)
                found.append(_examples_of(_session(name)))
                continue
            render.say(f"exporting {name}")
            opened = open_graph(name)
            files[name] = export_onnx(opened.traced, opened.examples, Path(folder) / f"{place}.onnx").path
            found.append(opened.examples)
        render.say("timing")
        return latency_table(files, common_inputs(names, found), grid, threads)


def _session(name: str) -> InferenceSession:
    check_external_data(Path(name))
    try:
        return open_session(name)
    except Exception as error:  # ONNX Runtime derives its errors from Exception alone
        cause = str(error).splitlines()[0][:200]
        raise SourceError(f"{name!r} is no ONNX file that runs here", cause=cause, remedy="export it again") from error


def _examples_of(session: InferenceSession) -> Examples:
    """Make up inputs for an ONNX file: ids of 0 and 1, which every vocabulary has, masks of ones, noise."""
    generator = torch.Generator().manual_seed(0)
    return {value.name: _made_up(value, generator) for value in session.get_inputs()}


def _made_up(value: Any, generator: torch.Generator) -> Tensor:
    if value.type not in _KINDS:
        raise SourceError(f"the input {value.name!r} is of an unknown kind, {value.type}", remedy="name a model folder")
    shape = [size if isinstance(size, int) else _FREE[min(place, 1)] for place, size in enumerate(value.shape)]
    kind = _KINDS[value.type]
    if kind.is_floating_point:
        return torch.randn(shape, generator=generator)
    return (
        torch.ones(shape, dtype=kind) if "mask" in value.name else torch.randint(2, shape, generator=generator).to(kind)
    )


def common_inputs(names: Sequence[str], found: Sequence[Examples]) -> Examples:
    """Return inputs all models take: those with the smallest ids, since vocabularies may differ."""
    for name, examples in zip(names, found, strict=True):
        if set(examples) != set(found[0]):
            raise UsageError(
                f"{names[0]} and {name} take different inputs",
                cause=f"{', '.join(sorted(found[0]))} against {', '.join(sorted(examples))}",
                remedy="time models of the same inputs beside each other",
            )
    return min(found, key=_largest)


def _largest(examples: Examples) -> int:
    return max(
        (int(v.max()) for v in examples.values() if isinstance(v, Tensor) and not v.is_floating_point()), default=0
    )
