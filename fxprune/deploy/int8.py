"""int8 versions of an ONNX file: weights of the matrix products, and of the tables rows are picked from.

*dynamic*: activations get their scale while the model runs, from what they are. *static*: from text, before. Weights
are signed, symmetric and have a scale for each output; activations are unsigned. Products alone are rewritten: norms,
softmax and activation functions stay in float32, and so does every op that fuses attention without weights of its own.
GELU is computed by tanh.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fxprune.atomic import move_files
from fxprune.deploy.agreement import Agreement, agreement
from fxprune.deploy.onnx_facts import read_facts
from fxprune.deploy.ort import plain_line
from fxprune.deploy.quantiser import CALIBRATORS, Inputs, Quantiser, answers
from fxprune.deploy.weighted import prepared, products_of
from fxprune.errors import DeployError

DYNAMIC, STATIC = "dynamic", "static"
_LIMIT = 2 * 10**9  # bytes one ONNX file may have


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Export:
    """What was written, and how close it is to the float32 file.

    Attributes:
        path: of the int8 file.
        files: that, and its weights where they are too large for it.
        mode: "dynamic" or "static".
        bytes, bytes_before: of the int8 file and of the float32 one.
        products: how many matrix products run in int8.
        left: how many with a weight stay in float32.
        bits: of a weight of a product: 7 where sums of two 8-bit products overflow 16 bits on this processor, which
            those without dot products of bytes (VNNI) compute with, and the file is further from float32 for it.
        gelus: how many GELUs are computed by tanh instead of erf.
        agreement: with the float32 file, on inputs that were not calibrated on.
        calibrator: how a static file found the ranges of its activations; None if dynamic.
        tried: calibrator -> its cosine on the inputs kept back.
        failed: calibrator -> why it does not work for this model.
    """

    path: Path
    files: tuple[Path, ...]
    mode: str
    bytes: int
    bytes_before: int
    products: int
    left: int
    bits: int
    gelus: int
    agreement: Agreement
    calibrator: str | None = None
    tried: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)

    def to_data(self) -> dict[str, Any]:
        """Return it as facts, for JSON."""
        return {
            "mode": self.mode,
            "bytes": self.bytes,
            "bytes_float32": self.bytes_before,
            "products": self.products,
            "left_in_float32": self.left,
            "bits": self.bits,
            "gelus_by_tanh": self.gelus,
            "max_error": self.agreement.max_error,
            "cosine": self.agreement.cosine,
            "top1": self.agreement.top1,
            "calibrator": self.calibrator,
            "tried": dict(self.tried),
            "failed": dict(self.failed),
        }


def export_int8(
    source: str | Path,
    path: str | Path,
    examples: Inputs,
    *,
    calibration: Inputs = (),
    calibrators: Sequence[str] = CALIBRATORS,
    tables: bool = True,
) -> Int8Export:
    """Write an int8 version of the ONNX file at `source`; static if there is something to calibrate on, else dynamic.

    Args:
        source: a float32 file, as `export_onnx` writes it.
        path: of the int8 file.
        examples: inputs to compare both files on.
        calibration: inputs to find the ranges of activations from; a quarter is kept back to choose a calibrator by.
        calibrators: of ONNX Runtime: the one whose outputs are nearest is kept.
        tables: whether tables of embeddings become int8 too: most of the bytes of a small model, no time.
    Raises:
        DeployError: ONNX Runtime cannot quantise or run it, or it holds no matrix product with a weight.
    """
    source, path = Path(source), Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    before, want = read_facts(source), answers(source, examples)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".int8-") as temporary:
        ready = prepared(source, Path(temporary) / "ready.onnx")
        quantise = Quantiser(ready, path.name, Path(temporary), large=before.bytes > _LIMIT, tables=tables)
        start = quantise.start()
        bits, made = _nearest({bits: quantise.dynamic(start, bits) for bits in (8, 7)}, examples, want)
        tried = quantise.static(start, calibration, calibrators, bits) if calibration else {}
        calibrator = max(tried, key=lambda name: tried[name][1], default=None)
        if calibrator is not None:
            made = tried[calibrator][0]
        found = agreement(zip(_checked(made, examples), want, strict=True))
        left = len(products_of(made))
        files = tuple(move_files(made.parent, path.parent))
    return Int8Export(
        path=path,
        files=files,
        mode=STATIC if calibration else DYNAMIC,
        bytes=sum(file.stat().st_size for file in files),
        bytes_before=before.bytes,
        products=len(ready.products) - left,
        left=left,
        agreement=found,
        bits=bits,
        gelus=ready.gelus,
        calibrator=calibrator,
        tried={name: cosine for name, (_, cosine) in tried.items()},
        failed=quantise.failures,
    )


def write_int8(source: Path, path: Path) -> None:
    """Write what `export_int8` would, dynamic, without looking at what it computes: its latency is wanted alone.

    Raises:
        DeployError: ONNX Runtime cannot quantise it, or it holds no matrix product with a weight.
    """
    large = read_facts(source).bytes > _LIMIT
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".int8-") as temporary:
        quantise = Quantiser(prepared(source, Path(temporary) / "ready.onnx"), path.name, Path(temporary), large=large)
        move_files(quantise.dynamic(quantise.start(), 8).parent, path.parent)


def _nearest(made: Mapping[int, Path], examples: Inputs, want: list[dict[str, Any]]) -> tuple[int, Path]:
    """Return the file whose outputs are nearest, the first of equals."""
    cosines = {bits: agreement(zip(_checked(path, examples), want, strict=True)).cosine for bits, path in made.items()}
    best = max(cosines, key=lambda bits: cosines[bits])
    return best, made[best]


def _checked(path: Path, examples: Inputs) -> list[dict[str, Any]]:
    try:
        return answers(path, examples)
    except Exception as error:  # ONNX Runtime derives its errors from Exception alone
        raise DeployError("the int8 file does not run", cause=plain_line(error)) from error
