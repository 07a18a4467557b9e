"""ONNX files of a model that generates: one with a cache for a decoder, two for an encoder-decoder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fxprune.atomic import move_files
from fxprune.deploy.generation.caches import ONLY_WITHOUT, NoCacheError, empty_past, takes
from fxprune.deploy.generation.capturing import CapturedStep, capture_step
from fxprune.deploy.generation.proof import Trial, left_mask, stepwise_error, trials
from fxprune.deploy.generation.settings import DECODER, ENCODER, SETTINGS, WITH_PAST, settings_of
from fxprune.deploy.generation.stepping import positions
from fxprune.deploy.generation.steps import CrossStep, DecoderStep, EncoderStep
from fxprune.deploy.onnx import OnnxExport, write_onnx
from fxprune.deploy.ort import open_session, run
from fxprune.deploy.parity import worst_error
from fxprune.deploy.rungs import LADDER, STEPS
from fxprune.examples import OTHER_THAN_TEXT, example_inputs

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from fxprune.deploy.agreement import Agreement
    from fxprune.deploy.int8 import Int8Export


_PAST = "past_key_values"
_PROVED = 24  # length of the longest text of the proof, where no window asks for more
_WIDEST = 256  # windows beyond it are not filled in the proof


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationExport:
    """What was written, and how far stepping through it is from the model without a cache.

    Attributes:
        files: all of them, the settings of the loop among them.
        graphs: file name -> its export.
        max_error: of a logit, relative to the largest one.
        layers: that have a cache.
        window: how far the model looks back, if that is limited; the cache holds all positions nevertheless.
        trials: the texts it was proved on, and what the model says of them.
        int8: file name -> int8 version of a graph, see `quantise`.
        int8_agreement: of their logits, step by step, with the model without a cache.
    """

    files: tuple[Path, ...]
    graphs: Mapping[str, OnnxExport]
    max_error: float
    layers: int
    window: int | None
    trials: tuple[Trial, ...] = field(repr=False)
    int8: Mapping[str, Int8Export] = field(default_factory=dict)
    int8_agreement: Agreement | None = None


def export_generation(model: Any, folder: Path, *, tolerance: float = 1e-4) -> GenerationExport:
    """Write `model` so that it generates in ONNX Runtime, each token for the cost of one.

    A decoder becomes ``decoder_with_past.onnx``: input_ids, attention_mask (past and new), position_ids where the class
    takes them, and past_key_values.N.key and .value make logits, present.N.key and .value. Batch, length and past are
    free, and the past may be empty. An encoder-decoder becomes ``encoder.onnx``, which also makes the keys and values
    of the source (present.N.encoder.*), and ``decoder.onnx``, which takes them beside those of its own past.

    Args:
        model: a Hugging Face model that `remembers`, in evaluation mode, float32, on the CPU.
        folder: made if missing.
        tolerance: largest difference allowed between steps in ONNX Runtime and the model without a cache.
    Raises:
        NoCacheError: the model keeps something else than keys and values, or reads something else than tokens.
        DeployError: it cannot be exported, or does not agree.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writer = _Writer(model, tolerance)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".generation-") as temporary:
        stage = Path(temporary)
        graphs = writer.pair(stage) if model.config.is_encoder_decoder else writer.decoder(stage)
        (stage / SETTINGS).write_text(writer.settings.to_json(), encoding="utf-8")
        files = move_files(stage, folder)
    moved = {graph.path.name: _moved(graph, folder) for graph in graphs}
    error = max(graph.max_error for graph in graphs)
    return GenerationExport(
        files=tuple(files),
        graphs=moved,
        max_error=error,
        layers=len(writer.past),
        window=writer.window,
        trials=tuple(writer.trials),
    )


class _Writer:
    """One model, its cache without a position in it, and the texts its files are tried on."""

    def __init__(self, model: Any, tolerance: float) -> None:
        self.model, self.tolerance = model, tolerance
        self.settings = settings_of(model)
        self.ids = _tokens(model)
        self.batch, self.length = self.ids.shape
        # no two sizes that may differ are the same in a trace
        self.behind = next(size for size in range(self.length - 2, 0, -1) if size != self.batch)
        target = {"decoder_input_ids": self.ids[:, :3]} if model.config.is_encoder_decoder else {}
        ones = torch.ones_like(self.ids)
        self.past, self.window = empty_past(model, {"input_ids": self.ids, "attention_mask": ones, **target})
        longest = max(_PROVED, self.window + 8 if self.window and self.window <= _WIDEST else 0)
        self.trials = trials(model, self.ids, min(longest, self.settings.positions or longest))

    def decoder(self, folder: Path) -> list[OnnxExport]:
        mask = left_mask(self.batch, self.behind + self.length, 2)
        kwargs: dict[str, Any] = {"input_ids": self.ids, "attention_mask": torch.from_numpy(mask)}
        if takes(self.model, "position_ids"):
            kwargs["position_ids"] = torch.from_numpy(positions(mask)[:, -self.length :]).contiguous()
        kwargs[_PAST] = {layer: self._with(tensors, self.behind) for layer, tensors in self.past.items()}
        step = capture_step(DecoderStep(self.model), kwargs)
        return [self._write(step, folder / WITH_PAST, self._stepwise())]

    def pair(self, folder: Path) -> list[OnnxExport]:
        mask = torch.from_numpy(left_mask(self.batch, self.length, 2))
        kwargs = {"input_ids": self.ids, "attention_mask": mask}
        step = capture_step(EncoderStep(self.model), kwargs)
        encoder = self._write(
            step, folder / ENCODER, lambda session: worst_error(run(session, kwargs), dict(step.outputs))
        )
        lengths = {"decoder": self.behind, "encoder": self.length}
        given = {
            layer: {side: self._with(sides[side], length) for side, length in lengths.items()}
            for layer, sides in self.past.items()
        }
        cross = CrossStep(self.model, step.outputs["last_hidden_state"].shape[-1])
        inputs = {"input_ids": self.ids[:, :3].contiguous(), "encoder_attention_mask": mask, _PAST: given}
        last = capture_step(cross, inputs)
        return [encoder, self._write(last, folder / DECODER, self._stepwise(open_session(encoder.path)))]

    def _with(self, tensors: Mapping[str, Tensor], length: int) -> dict[str, Tensor]:
        """Return keys and values of `length` positions; only their shape matters."""
        return {
            name: torch.zeros(self.batch, tensor.shape[1], length, tensor.shape[3]) for name, tensor in tensors.items()
        }

    def _stepwise(self, encoder: InferenceSession | None = None) -> Callable[[InferenceSession], float]:
        return lambda session: max(stepwise_error(session, trial, encoder) for trial in self.trials)

    def _write(self, step: CapturedStep, path: Path, error: Callable[[InferenceSession], float]) -> OnnxExport:
        return write_onnx(
            step.exported,
            path,
            outputs=tuple(step.outputs),
            error=error,
            dynamic_axes=step.axes,
            tolerance=self.tolerance,
            ladder=STEPS if _PAST in step.exported.kwargs else LADDER,
        )


def _tokens(model: Any) -> Tensor:
    given = example_inputs(model)
    other = next((name for name in given if name in OTHER_THAN_TEXT), None)
    if other is not None:
        raise NoCacheError(
            "a loop with a cache is written for models that read tokens alone",
            cause=f"{type(model).__name__} reads {other}",
            remedy=ONLY_WITHOUT,
        )
    return given["input_ids"]


def _moved(graph: OnnxExport, folder: Path) -> OnnxExport:
    return replace(graph, path=folder / graph.path.name, files=tuple(folder / file.name for file in graph.files))
