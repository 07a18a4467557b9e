"""The steps from a float32 ONNX file to an int8 one, by ONNX Runtime's quantiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fxprune.deploy.agreement import agreement
from fxprune.deploy.ort import feeds, open_session, run
from fxprune.deploy.program import first_line
from fxprune.deploy.residuals import keep_residuals
from fxprune.deploy.tied_tables import store_once
from fxprune.deploy.weighted import PRODUCTS, TABLES, Ready, rename_quantised
from fxprune.errors import DeployError
from fxprune.quiet import quiet

CALIBRATORS = ("MinMax", "Percentile", "Entropy")
Inputs = Sequence[Mapping[str, Any]]


class Quantiser:
    """One model on its way: each step writes a file in a folder of its own, under the name it will have.

    Args:
        ready: the model.
        name: of its int8 file.
        folder: for the steps.
        large: whether weights lie beside a file.
        tables: whether tables become int8 too.
    """

    def __init__(self, ready: Ready, name: str, folder: Path, *, large: bool, tables: bool = True) -> None:
        self.ready = ready if tables else replace(ready, tables=(), tied={})
        self.name, self.folder, self.large = name, folder, large
        self.failures: dict[str, str] = {}  # calibrator -> why it does not work

    def start(self) -> Path:
        """Make the tables int8 that no product has, one scale for each."""
        if not self.ready.tables:
            return self.ready.path
        made = self._dynamic(self.ready.path, "tables", TABLES)
        rename_quantised(made)  # the next step makes the same names out of those of the tensors
        return made

    def dynamic(self, start: Path, bits: int) -> Path:
        """Make the products int8, with scales found while the model runs."""
        made = self._dynamic(start, f"dynamic-{bits}", PRODUCTS, bits)
        store_once(made, self.ready.tied, large=self.large)
        return made

    def static(
        self, start: Path, calibration: Inputs, calibrators: Sequence[str], bits: int
    ) -> dict[str, tuple[Path, float]]:
        """Make the products int8 once for each calibrator; return the files and how near each is on what was kept back.

        Raises:
            DeployError: no calibrator works; lists each with its reason.
        """
        kept = max(1, len(calibration) // 4)
        used, held = list(calibration[kept:]) or list(calibration), list(calibration[:kept])
        want = answers(self.ready.path, held)
        found: dict[str, tuple[Path, float]] = {}
        for calibrator in calibrators:
            try:
                made = self._static(start, used, calibrator, bits)
                found[calibrator] = made, agreement(zip(answers(made, held), want, strict=True)).cosine
            except Exception as error:  # the quantiser raises whatever it likes
                self.failures[calibrator] = first_line(error)
        if not found:
            raise DeployError(
                "no calibration works",
                cause="".join(f"\n          {name}: {reason}" for name, reason in self.failures.items()),
                remedy="use dynamic int8",
            )
        return found

    def _dynamic(self, start: Path, step: str, ops: Sequence[str], bits: int = 8) -> Path:
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
                    reduce_range=bits < 8,
                    weight_type=QuantType.QInt8,
                    use_external_data_format=self.large,
                    extra_options={"MatMulConstBOnly": True},
                )
        except Exception as error:  # the quantiser raises whatever it likes
            raise DeployError("the model cannot be quantised", cause=first_line(error)) from error
        return target

    def _static(self, start: Path, calibration: Inputs, calibrator: str, bits: int) -> Path:
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
                reduce_range=bits < 8,
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
        keep_residuals(target, self.ready.products)
        store_once(target, self.ready.tied, large=self.large)
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


def answers(path: Path, examples: Inputs) -> list[dict[str, Any]]:
    """Run a file on each of the inputs."""
    session = open_session(path)
    return [run(session, kwargs) for kwargs in examples]


def _of_one_shape(arrays: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cut inputs to the smallest size along each axis: histograms are gathered over equal shapes only."""
    least = {name: tuple(map(min, zip(*(one[name].shape for one in arrays), strict=True))) for name in arrays[0]}
    return [{name: value[tuple(map(slice, least[name]))] for name, value in one.items()} for one in arrays]
