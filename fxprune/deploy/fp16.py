"""A float16 version of an ONNX file, for providers that compute in it: half the bytes, and on a GPU half the time.

Inputs and outputs keep their types. Norms, softmax and reductions stay in float32, whose sums would overflow or lose
digits; a
weight float16 cannot hold keeps its node in float32.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fxprune.atomic import move_files
from fxprune.deploy.agreement import Agreement, agreement
from fxprune.deploy.onnx_facts import read_facts
from fxprune.deploy.ort import open_session, run
from fxprune.deploy.program import first_line
from fxprune.errors import DeployError, FxpruneError
from fxprune.quiet import quiet

if TYPE_CHECKING:
    from onnx import GraphProto

TOLERANCE = 1e-2  # relative to the largest value of an output: ten bits of mantissa, some hundred layers of them
SUMS = (
    "LayerNormalization",
    "SimplifiedLayerNormalization",
    "SkipLayerNormalization",
    "RMSNormalization",
    "GroupNormalization",
    "InstanceNormalization",
    "Softmax",
    "LogSoftmax",
    "ReduceMean",
    "ReduceSum",
    "ReduceSumSquare",
    "ReduceL2",
    "Pow",
    "CumSum",
)
_LIMIT = 2 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Fp16Export:
    """What was written, and how close it is to the float32 file on the provider it was checked on."""

    path: Path
    files: tuple[Path, ...]
    bytes: int
    bytes_before: int
    provider: str
    agreement: Agreement


def export_fp16(
    source: str | Path,
    path: str | Path,
    examples: Sequence[Mapping[str, Any]],
    *,
    provider: str = "cpu",
    tolerance: float = TOLERANCE,
) -> Fp16Export:
    """Write a float16 version of the float32 ONNX file at `source`, checked in ONNX Runtime.

    Args:
        source: as `export_onnx` writes it.
        path: of the float16 file.
        examples: inputs to compare both files on.
        provider: that runs the check; the processor computes most of it in float32, so it proves less.
        tolerance: largest difference allowed, relative to the largest value of each output.
    Raises:
        DeployError: it cannot be converted or run, or is further away than that; nothing is written.
        UsageError: ONNX Runtime does not have the provider.
    """
    source, path = Path(source), Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    before = read_facts(source)
    want = _answers(source, examples, "cpu")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fp16-") as temporary:
        made = Path(temporary) / path.name
        try:
            _convert(source, made, large=before.bytes > 2 * _LIMIT)
            found = agreement(zip(_answers(made, examples, provider), want, strict=True))
        except FxpruneError:
            raise
        except Exception as error:  # converter and runtime raise whatever they like
            raise DeployError("the model cannot be converted to float16", cause=first_line(error)) from error
        if not found.max_error <= tolerance:
            raise DeployError(
                f"the float16 file is {found.max_error:.1e} away from the float32 one, {tolerance:.0e} is allowed",
                remedy="keep float32, or use int8",
            )
        files = tuple(move_files(made.parent, path.parent))
    size = sum(file.stat().st_size for file in files)
    return Fp16Export(path=path, files=files, bytes=size, bytes_before=before.bytes, provider=provider, agreement=found)


def across(path: Path, examples: Sequence[Mapping[str, Any]], provider: str) -> Agreement:
    """Compare a provider with the processor on one file."""
    return agreement(zip(_answers(path, examples, provider), _answers(path, examples, "cpu"), strict=True))


def _convert(source: Path, target: Path, *, large: bool) -> None:
    import onnx
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    with quiet():
        model = convert_float_to_float16(
            onnx.load(source),
            keep_io_types=True,
            disable_shape_infer=large,
            op_block_list=[*DEFAULT_OP_BLOCK_LIST, *SUMS],
        )
        _cast_once(model.graph)
        onnx.save(model, target, save_as_external_data=large, location=f"{target.name}.data")


def _cast_once(graph: GraphProto) -> None:
    """Keep one of the casts of a weight that several nodes read in float32: the converter adds one for each."""
    weights = {tensor.name for tensor in graph.initializer}
    casts = {node.output[0]: node for node in graph.node if node.op_type == "Cast" and node.input[0] in weights}
    others = [node for node in graph.node if node.output[0] not in casts]
    nodes = [*casts.values(), *others]
    del graph.node[:]
    graph.node.extend(nodes)


def _answers(path: Path, examples: Sequence[Mapping[str, Any]], provider: str) -> list[dict[str, Any]]:
    session = open_session(path, provider=provider)
    return [run(session, kwargs) for kwargs in examples]
