"""int8 versions of an ONNX file: weights of the matrix products, and of the tables rows are picked from.

*dynamic*: activations get their scale while the model runs, from what they are. *static*: from text, before. Weights
are signed, symmetric and have a scale for each output; activations are unsigned. Products alone are rewritten: norms,
softmax and activation functions stay in float32, and so does every op that fuses attention without weights of its own.
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
from fxprune.deploy.ort import feeds, open_session, plain_line, run
from fxprune.deploy.program import first_line
from fxprune.deploy.weighted import PRODUCTS, TABLES, Ready, prepared, products_of, rename_quantised
from fxprune.errors import DeployError
from fxprune.quiet import quiet

DYNAMIC, STATIC = "dynamic", "static"
CALIBRATORS = ("MinMax", "Percentile", "Entropy")
_LIMIT = 2 * 10**9  # bytes one ONNX file may have
Inputs = Sequence[Mapping[str, Any]]


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
        agreement: with the float32 file, on inputs that were not calibrated on.
        calibrator: how a static file found the ranges of its activations; None if dynamic.
        tried: calibrator -> its cosine on the inputs kept back.
    """

    path: Path
    files: tuple[Path, ...]
    mode: str
    bytes: int
    bytes_before: int
    products: int
    left: int
    agreement: Agreement
    calibrator: str | None = None
    tried: Mapping[str, float] = field(default_factory=dict)

    def to_data(self) -> dict[str, Any]:
        """Return it as facts, for JSON."""
        return {
            "mode": self.mode,
            "bytes": self.bytes,
            "bytes_float32": self.bytes_before,
            "products": self.products,
            "left_in_float32": self.left,
            "max_error": self.agreement.max_error,
            "cosine": self.agreement.cosine,
            "top1": self.agreement.top1,
            "calibrator": self.calibrator,
            "tried": dict(self.tried),
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
    before, want = read_facts(source), _answers(source, examples)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".int8-") as temporary:
        ready = prepared(source, Path(temporary) / "ready.onnx")
        quantise = _Quantiser(ready, path.name, Path(temporary), large=before.bytes > _LIMIT)
        start = quantise.tables() if tables else ready.path
        tried = quantise.static(start, calibration, calibrators) if calibration else {DYNAMIC: quantise.dynamic(start)}
        chosen = max(tried, key=lambda name: tried[name][1])
        made = tried[chosen][0]
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
        calibrator=chosen if calibration else None,
        tried={name: cosine for name, (_, cosine) in tried.items()} if calibration else {},
    )


class _Quantiser:
    """One model on its way: each step writes a file in a folder of its own, under the name it will have."""

    def __init__(self, ready: Ready, name: str, folder: Path, *, large: bool) -> None:
        self.ready, self.name, self.folder, self.large = ready, name, folder, large

    def tables(self) -> Path:
        """Make the tables int8, one scale for each."""
        if not self.ready.tables:
            return self.ready.path
        made = self._dynamic(self.ready.path, "tables", TABLES)
        rename_quantised(made)  # the next step makes the same names out of those of the tensors
        return made

    def dynamic(self, start: Path) -> tuple[Path, float]:
        """Make the products int8, with scales found while the model runs."""
        return self._dynamic(start, DYNAMIC, PRODUCTS), 1.0

    def static(self, start: Path, calibration: Inputs, calibrators: Sequence[str]) -> dict[str, tuple[Path, float]]:
        """Make the products int8 once for each calibrator; return the files and how near each is on what was kept back.

        Raises:
            DeployError: no calibrator works; lists each with its reason.
        """
        kept = max(1, len(calibration) // 4)
        used, held = list(calibration[kept:]) or list(calibration), list(calibration[:kept])
        want = _answers(self.ready.path, held)
        found: dict[str, tuple[Path, float]] = {}
        failures: dict[str, str] = {}
        for calibrator in calibrators:
            try:
                made = self._static(start, used, calibrator)
                found[calibrator] = made, agreement(zip(_answers(made, held), want, strict=True)).cosine
            except Exception as error:  # the quantiser raises whatever it likes
                failures[calibrator] = first_line(error)
        if not found:
            raise DeployError(
                "no calibration works",
                cause="".join(f"\n          {name}: {reason}" for name, reason in failures.items()),
                remedy="use dynamic int8",
            )
        return found

    def _dynamic(self, start: Path, step: str, ops: Sequence[str]) -> Path:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        target = self._target(step)
        try:
            with quiet():
                quantize_dynamic(
                    start,
                    target,
                    op_types_to_quantize=list(ops),
                    nodes_to_exclude=list(self.ready.others),
                    per_channel=ops is PRODUCTS,
                    weight_type=QuantType.QInt8,
                    use_external_data_format=self.large,
                    extra_options={"MatMulConstBOnly": True},
                )
        except Exception as error:  # the quantiser raises whatever it likes
            raise DeployError("the model cannot be quantised", cause=first_line(error)) from error
        return target

    def _static(self, start: Path, calibration: Inputs, calibrator: str) -> Path:
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        target = self._target(calibrator)
        with quiet():
            quantize_static(
                start,
                target,
                Texts(start, calibration),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(PRODUCTS),
                nodes_to_exclude=list(self.ready.others),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=getattr(CalibrationMethod, calibrator),
                use_external_data_format=self.large,
                extra_options={
                    "MatMulConstBOnly": True,
                    "WeightSymmetric": True,
                    "ActivationSymmetric": False,
                    "OpTypesToExcludeOutputQuantization": list(PRODUCTS),
                },
            )
        return target

    def _target(self, step: str) -> Path:
        folder = self.folder / step
        folder.mkdir()
        return folder / self.name


class Texts:
    """Calibration inputs as ONNX Runtime's calibrators read them: one after another, then None."""

    def __init__(self, path: Path, inputs: Inputs) -> None:
        session = open_session(path)
        self._rest = iter(_of_one_shape([feeds(session, kwargs) for kwargs in inputs]))

    def get_next(self) -> dict[str, Any] | None:
        """Return the next arrays."""
        return next(self._rest, None)


def _of_one_shape(arrays: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cut inputs to the smallest size along each axis: histograms are gathered over equal shapes only."""
    least = {name: tuple(map(min, zip(*(one[name].shape for one in arrays), strict=True))) for name in arrays[0]}
    return [{name: value[tuple(map(slice, least[name]))] for name, value in one.items()} for one in arrays]


def _checked(path: Path, examples: Inputs) -> list[dict[str, Any]]:
    try:
        return _answers(path, examples)
    except Exception as error:  # ONNX Runtime derives its errors from Exception alone
        raise DeployError("the int8 file does not run", cause=plain_line(error)) from error


def _answers(path: Path, examples: Inputs) -> list[dict[str, Any]]:
    session = open_session(path)
    return [run(session, kwargs) for kwargs in examples]
