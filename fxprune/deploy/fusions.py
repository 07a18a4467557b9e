"""What ONNX Runtime makes of a graph: the ops it really runs, and which of them stand for several."""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fxprune.deploy.ort import PROVIDER, feeds

if TYPE_CHECKING:
    import os

# Ops that other graphs write as several: those of the standard domain, those ONNX Runtime fuses when it loads a file.
_FUSED = frozenset(
    {
        *("Attention", "MultiHeadAttention", "GroupQueryAttention", "RotaryEmbedding", "BiasSoftmax"),
        *("LayerNormalization", "SkipLayerNormalization", "EmbedLayerNormalization", "GroupNormalization"),
        *("RMSNormalization", "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization"),
        *("Gelu", "BiasGelu", "FastGelu", "QuickGelu", "FusedMatMul", "FusedGemm", "FusedConv"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOps:
    """What ONNX Runtime runs for one file.

    Attributes:
        nodes: how many operators.
        fused: op -> how often, for those that stand for several.
    """

    nodes: int
    fused: Mapping[str, int]


def count_ops(path: str | os.PathLike[str], kwargs: Mapping[str, Any]) -> RunOps:
    """Run a file once, fully optimised, and count the operators that ran.

    Args:
        path: of the ONNX file.
        kwargs: keyword arguments of the model.
    """
    counts = Counter(op for op, _ in kernel_times(path, kwargs))
    fused = {name: number for name, number in sorted(counts.items()) if name in _FUSED}
    return RunOps(nodes=counts.total(), fused=fused)


def lost_fusions(teacher: Mapping[str, int], student: Mapping[str, int]) -> list[str]:
    """Say of which fused ops the student runs fewer than the teacher.

    >>> lost_fusions({"Attention": 12, "BiasGelu": 12}, {"Attention": 10, "BiasGelu": 12})
    ['ONNX Runtime runs 10 Attention ops for the student and 12 for the teacher']
    """
    return [
        f"ONNX Runtime runs {student.get(name, 0)} {name} ops for the student and {number} for the teacher"
        for name, number in sorted(teacher.items())
        if student.get(name, 0) < number
    ]


def kernel_times(
    path: str | os.PathLike[str], kwargs: Mapping[str, Any], *, runs: int = 1, threads: int = 1
) -> dict[tuple[str, str], list[float]]:
    """Return (op, node) -> milliseconds of each run, out of ONNX Runtime's profile.

    A profile knows what the runtime's optimizer made of a file, and unlike a copy of the optimised file it
    holds no weights.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory(prefix="fxprune-") as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])
        for _ in range(runs):
            session.run(None, feeds(session, kwargs))
        events = json.loads(Path(session.end_profiling()).read_text())
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            node = f"{event['args']['node_index']} {event['name']}"
            times[event["args"]["op_name"], node].append(event["dur"] / 1000)
    return dict(times)
