"""An ONNX file with free batch and length, by a ladder of exporter settings, each checked in ONNX Runtime."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from fxprune.atomic import move_files
from fxprune.deploy.fusions import count_ops
from fxprune.deploy.lean import make_lean
from fxprune.deploy.onnx_graph import tidy
from fxprune.deploy.onnx_ops import rewrite_ops, translations
from fxprune.deploy.ort import open_session, run
from fxprune.deploy.parity import input_tensors, output_tensors, worst_error
from fxprune.deploy.program import Exported, export_program, first_line, innermost
from fxprune.deploy.rungs import LADDER, Rung
from fxprune.errors import DeployError
from fxprune.quiet import quiet
from fxprune.shapes import resized, second_shape

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from onnxruntime import InferenceSession
    from torch import Tensor, nn
    from torch.onnx import ONNXProgram

_PROTOBUF_LIMIT = 2 * 10**9  # bytes one ONNX file may have, with some left for the graph itself


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxExport:
    """What was written, and how close it is to PyTorch."""

    path: Path
    files: tuple[Path, ...]  # the file, and its weights where they are too large for it
    opset: int
    rung: str
    max_error: float  # over all shapes tried, relative to the largest value of each output
    inputs: Mapping[str, tuple[str | int, ...]]  # name -> sizes; free ones by name
    outputs: tuple[str, ...]
    nodes: int = 0  # operators ONNX Runtime runs
    fused: Mapping[str, int] = field(default_factory=dict)  # op -> how often, for ops that stand for several
    failures: Mapping[str, str] = field(default_factory=dict)  # rung -> why it was left, for those above


def export_onnx(
    module: nn.Module,
    example_kwargs: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    dynamic_axes: Mapping[str, Mapping[int, str]] | None = None,
    tolerance: float = 1e-4,
    ladder: tuple[Rung, ...] = LADDER,
) -> OnnxExport:
    """Write `module` as an ONNX file whose inputs are its keyword arguments and whose outputs are its output keys.

    Every rung is run in ONNX Runtime at the shape of the examples, at another batch and length with ragged masks, and
    at a batch of one; the first whose outputs agree with PyTorch is kept.

    Args:
        module: in evaluation mode, on the CPU; a captured graph, or any module that can be captured.
        example_kwargs: arguments of its forward, as for `capture`.
        path: of the file; weights of more than 2 GB go to ``<path>.data``.
        dynamic_axes: other names for free dimensions, input -> dimension -> name.
        tolerance: largest difference allowed, relative to the largest value of each output.
        ladder: the settings to try, in order.
    Raises:
        DeployError: no rung agrees with PyTorch; lists each with its reason.
    """
    exported = export_program(module, example_kwargs)
    return export_exported(exported, path, dynamic_axes=dynamic_axes, tolerance=tolerance, ladder=ladder)


def export_exported(exported: Exported, path: str | os.PathLike[str], **settings: Any) -> OnnxExport:
    """Write an exported program, which the export may change; everything else is as in `export_onnx`."""
    runs = _runs(exported)

    def error(session: InferenceSession) -> float:
        return max(worst_error(run(session, kwargs), want) for kwargs, want in runs)

    return write_onnx(exported, path, outputs=tuple(runs[0][1]), error=error, **settings)


def write_onnx(
    exported: Exported,
    path: str | os.PathLike[str],
    *,
    outputs: tuple[str, ...],
    error: Callable[[InferenceSession], float],
    dynamic_axes: Mapping[str, Mapping[int, str]] | None = None,
    tolerance: float = 1e-4,
    ladder: tuple[Rung, ...] = LADDER,
) -> OnnxExport:
    """Write an exported program by the first rung that runs and agrees; what is not said here is as in `export_onnx`.

    Args:
        exported: its keyword arguments give the inputs their names.
        path: of the file.
        outputs: their names, in order.
        error: runs a file in all shapes it must hold in, and returns the largest relative error.
    """
    rewrite_ops(exported.program)
    attempt = _Attempt(exported, Path(path), outputs, dynamic_axes or {}, error, tolerance)
    attempt.path.parent.mkdir(parents=True, exist_ok=True)
    failures: dict[str, str] = {}
    for rung in ladder:
        try:
            return replace(attempt.export(rung), failures=failures)
        except Exception as err:  # exporter and runtime raise whatever they like; each is this rung's reason
            failures[rung.name] = first_line(innermost(err))
    raise DeployError(
        "no ONNX file agrees with PyTorch",
        cause="".join(f"\n          {name}: {reason}" for name, reason in failures.items()),
        remedy="leave out the ONNX export; the .pt2 file holds the same model",
    )


class _Attempt:
    """One model and what its file must reproduce; `export` tries one rung."""

    def __init__(
        self,
        exported: Exported,
        path: Path,
        outputs: tuple[str, ...],
        names: Mapping[str, Mapping[int, str]],
        error: Callable[[InferenceSession], float],
        tolerance: float,
    ) -> None:
        self.exported = exported
        self.path = path
        self.outputs = outputs
        self.names = names
        self.error = error
        self.tolerance = tolerance
        self._converted: dict[Rung, ONNXProgram | Exception] = {}

    def converted(self, rung: Rung) -> ONNXProgram:
        """Return what the exporter makes with the settings of `rung`; asked again, it says the same."""
        key = replace(rung, name="", optimize=False, lean=False, stepping=False)
        if key not in self._converted:
            try:
                self._converted[key] = _convert(self.exported, rung, self.outputs)
            except Exception as error:
                self._converted[key] = error
        found = self._converted[key]
        if isinstance(found, Exception):
            raise found
        return found

    def export(self, rung: Rung) -> OnnxExport:
        """Convert, check and put the file in place; on any exception nothing is left behind."""
        with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".onnx-") as temporary:
            file = Path(temporary) / self.path.name
            program = _own(self.converted(rung), rung)
            inputs = tidy(program.model, self.exported.dims, self.names)
            _save(program, file)
            error = self.error(open_session(file))
            if not error <= self.tolerance:
                raise DeployError(f"outputs are {error:.1e} away from PyTorch, {self.tolerance:.0e} is allowed")
            ops = count_ops(file, self.exported.kwargs)
            return OnnxExport(
                path=self.path,
                files=_move(Path(temporary), self.path),
                opset=program.model.opset_imports[""],
                rung=rung.name,
                max_error=error,
                inputs=inputs,
                outputs=self.outputs,
                nodes=ops.nodes,
                fused=ops.fused,
            )


def _runs(exported: Exported) -> list[tuple[dict[str, Any], dict[str, Tensor]]]:
    """Record what PyTorch makes of the examples, of another shape, and of one row."""
    other = second_shape(exported.kwargs, exported.dims)
    length = max((tensor.shape[1] for tensor in input_tensors(other).values() if tensor.ndim == 2), default=1)
    shapes = [exported.kwargs, other, resized(exported.kwargs, 1, length, exported.dims, seed=2)]
    with torch.no_grad():
        return [(kwargs, output_tensors(exported.graph(**kwargs))) for kwargs in shapes]


def _convert(exported: Exported, rung: Rung, outputs: tuple[str, ...]) -> ONNXProgram:
    """Convert without optimising, which comes later: two rungs share one conversion."""
    attention: AbstractContextManager[Any] = sdpa_kernel(SDPBackend.MATH) if rung.plain_attention else nullcontext()
    with torch.no_grad(), quiet(), attention:
        program = torch.onnx.export(
            exported.program,
            (),
            input_names=list(input_tensors(exported.kwargs)),
            output_names=list(outputs),
            opset_version=rung.opset,
            optimize=False,
            custom_translation_table=dict(translations(exported.program)),
            verbose=False,
        )
    assert program is not None
    made = program.model.opset_imports[""]
    if rung.opset not in (None, made):  # the exporter falls back silently
        raise DeployError(f"the exporter made opset {made} instead of {rung.opset}")
    return program


def _own(program: ONNXProgram, rung: Rung) -> ONNXProgram:
    """Return a copy of a conversion, on the same weights, optimised if the rung asks for it."""
    own = copy.copy(program)
    own.model = program.model.clone()
    if rung.optimize:
        with quiet():
            own.optimize()
    if rung.lean:
        make_lean(own.model, stepping=rung.stepping)
    return own


def _save(program: ONNXProgram, file: Path) -> None:
    weights = sum(value.const_value.nbytes for value in program.model.graph.initializers.values() if value.const_value)
    with quiet():
        program.save(file, external_data=weights > _PROTOBUF_LIMIT)


def _move(folder: Path, target: Path) -> tuple[Path, ...]:
    """Move the weights before the file that names them, and drop weights an older file left."""
    files = move_files(folder, target.parent)
    old = target.with_name(f"{target.name}.data")
    if old not in files:
        old.unlink(missing_ok=True)
    return tuple(files)
