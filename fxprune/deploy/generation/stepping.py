"""Running one ONNX file step by step: its outputs `present.*` become its inputs `past_key_values.*`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, OrtValue

    Memory: TypeAlias = Mapping[str, OrtValue]  # past_key_values.* -> what is there

PAST, PRESENT = "past_key_values", "present"


def remembered(names: Mapping[str, OrtValue]) -> dict[str, OrtValue]:
    """Return the outputs of a step as the past of the next one; other outputs are left out."""
    return {PAST + name.removeprefix(PRESENT): value for name, value in names.items() if name.startswith(f"{PRESENT}.")}


def run_values(session: InferenceSession, feeds: Mapping[str, np.ndarray | OrtValue]) -> dict[str, OrtValue]:
    """Run a session without copying its outputs.

    Args:
        session: of any file.
        feeds: arrays, or values an earlier run returned; those the file does not take are left out.
    """
    from onnxruntime import OrtValue

    wanted = [value.name for value in session.get_inputs()]
    outputs = [value.name for value in session.get_outputs()]
    values = {
        name: OrtValue.ortvalue_from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in ((name, feeds[name]) for name in wanted)
    }
    return dict(zip(outputs, session.run_with_ort_values(outputs, values), strict=True))


class Stepper:
    """A file with past and present, whatever the model in it.

    Args:
        session: of a file whose inputs are ids, masks and `past_key_values.*`.
    """

    def __init__(self, session: InferenceSession) -> None:
        self.session = session
        self.inputs = {value.name: value for value in session.get_inputs()}

    def nothing(self, batch: int) -> dict[str, OrtValue]:
        """Return the past before the first token: (batch, heads, 0, dims) for each layer."""
        from onnxruntime import OrtValue

        shapes = {name: value.shape for name, value in self.inputs.items() if name.startswith(f"{PAST}.")}
        return {
            name: OrtValue.ortvalue_from_numpy(np.zeros((batch, heads, 0, dims), np.float32))
            for name, (_, heads, _, dims) in shapes.items()
        }

    def step(self, ids: np.ndarray, mask: np.ndarray, past: Memory) -> tuple[np.ndarray, dict[str, OrtValue]]:
        """Run (batch, length) new tokens.

        Args:
            ids: of the new tokens.
            mask: (batch, past + length) of the text so far; of an encoder-decoder the mask of the source.
            past: what the last step returned, or `nothing`.
        Returns:
            Logits (batch, length, words), and the past of the next step.
        """
        made = run_values(self.session, self.feeds(ids, mask, past))
        return made["logits"].numpy(), {**past, **remembered(made)}

    def feeds(self, ids: np.ndarray, mask: np.ndarray, past: Memory) -> dict[str, np.ndarray | OrtValue]:
        """Return what the file takes in such a step."""
        found = {
            "input_ids": ids,
            "attention_mask": mask,
            "encoder_attention_mask": mask,
            "position_ids": positions(mask)[:, -ids.shape[1] :],
            **past,
        }
        return {name: found[name] for name in self.inputs}


def positions(mask: np.ndarray) -> np.ndarray:
    """Number the tokens a mask shows from 0; padding before them has 0 as well.

    >>> positions(np.array([[0, 0, 1, 1], [1, 1, 1, 1]])).tolist()
    [[0, 0, 0, 1], [0, 1, 2, 3]]
    """
    return np.maximum(mask.cumsum(-1) - 1, 0).astype(np.int64)
