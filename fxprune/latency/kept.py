"""Template pairs on disk: two exported files without their weights, so that a model is exported for a template once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fxprune.atomic import atomic_write
from fxprune.latency.table import cache_folder, machine

if TYPE_CHECKING:
    from onnx import ModelProto

_LARGE = 4096  # bytes: weights; what is smaller may be a constant that matters


@dataclass(frozen=True, slots=True)
class KeptPair:
    """Where the two files of one model lie.

    Attributes:
        folder: of all pairs.
        digest: of what the files depend on.
    """

    folder: Path
    digest: str

    @classmethod
    def of(cls, model: str, widths: Sequence[Sequence[int]], folder: Path | None = None) -> KeptPair:
        """Name the pair of a model (by its identity) at two widths."""
        key: Mapping[str, Any] = {"model": model, "widths": [list(each) for each in widths], **machine()}
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
        return cls((folder or cache_folder()) / "templates", digest)

    def read(self) -> list[ModelProto] | None:
        """Return both files; None where one is missing or damaged."""
        import onnx

        try:
            found = [onnx.load_model_from_string(self._path(i).read_bytes()) for i in range(2)]
        except Exception:  # protobuf's errors have no base of their own
            return None
        return found if all(len(file.graph.node) for file in found) else None

    def write(self, files: Sequence[ModelProto]) -> None:
        """Keep both files without their large weights; a folder that cannot be written costs an export later."""
        for i, file in enumerate(files):
            for tensor in file.graph.initializer:
                if len(tensor.raw_data) > _LARGE and _is_weight(tensor):
                    tensor.ClearField("raw_data")
            try:
                atomic_write(self._path(i), file.SerializeToString())
            except OSError:
                return

    def _path(self, place: int) -> Path:
        return self.folder / f"{self.digest}-{place}.onnx"


def _is_weight(tensor: Any) -> bool:
    import onnx

    return tensor.data_type in (
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.INT8,
    )
