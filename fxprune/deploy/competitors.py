"""Models that are compared: each an ONNX file, loaded, and inputs that all of them take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fxprune.deploy.latency import cells, full_inputs
from fxprune.deploy.made_up import has_length, made_up
from fxprune.deploy.onnx_facts import OnnxFacts, read_facts
from fxprune.deploy.ort import plain_line, read_session
from fxprune.deploy.parity import input_tensors
from fxprune.errors import DeployError, UsageError
from fxprune.shapes import resized

if TYPE_CHECKING:
    from numpy import ndarray
    from onnxruntime import InferenceSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Competitor:
    """One model.

    Attributes:
        name: as the user gave it.
        path: of the ONNX file.
        examples: arguments of the PyTorch model it was exported from; None for a file of unknown origin.
        pytorch_error: how far it is from that model.
    """

    name: str
    path: Path
    examples: Mapping[str, Any] | None = None
    pytorch_error: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """All models of a comparison, loaded, in the order they were given."""

    sessions: Mapping[str, InferenceSession]
    facts: Mapping[str, OnnxFacts]
    paths: Mapping[str, Path]
    examples: Mapping[str, Any]

    @classmethod
    def of(cls, competitors: Sequence[Competitor], threads: int, provider: str) -> Field:
        """Load the files.

        Raises:
            SourceError: one cannot be read or run here.
            UsageError: the provider is not installed, or no input is common to all.
        """
        paths = {one.name: one.path for one in competitors}
        sessions = {name: read_session(path, threads, provider, spinning=True) for name, path in paths.items()}
        _check_common(sessions)
        facts = {name: read_facts(path) for name, path in paths.items()}
        examples = common_examples([one.examples for one in competitors if one.examples is not None])
        return cls(sessions=sessions, facts=facts, paths=paths, examples=examples)

    def shapes(self, grid: Sequence[tuple[int, int]]) -> list[tuple[int, int | None]]:
        """Return the shapes of `grid`, each once, without a length if no model has one.

        Where a model takes one batch or one length only, all are timed there.
        """
        fixed = [_fixed(session) for session in self.sessions.values()]
        rows, only = (next((sizes[i] for sizes in fixed if sizes[i]), None) for i in (0, 1))
        grid = [(rows or batch, only or length) for batch, length in grid]
        if self.examples:
            return cells(self.examples, grid)
        long = any(has_length(session) for session in self.sessions.values())
        return list(dict.fromkeys((batch, length if long else None) for batch, length in grid))

    def feeds(self, batch: int, length: int | None, *, ragged: bool = False) -> dict[str, dict[str, ndarray]]:
        """Return the arrays of each model at a shape: the same for inputs of the same name."""
        rows = self._rows()
        tensors: dict[str, Tensor] = {}
        for session in reversed(list(self.sessions.values())):
            tensors |= made_up(session, rows, batch, length, ragged=ragged)
        if self.examples:
            make = resized if ragged else full_inputs
            known = input_tensors(make(self.examples, batch, length or 1))
            tensors |= {name: _below(value, rows.get(name)) for name, value in known.items()}
        return {
            name: {value.name: tensors[value.name].numpy() for value in session.get_inputs()}
            for name, session in self.sessions.items()
        }

    def run(self, name: str, batch: int, length: int | None) -> dict[str, Tensor]:
        """Return the outputs of a model at a shape, on inputs with ragged masks.

        Raises:
            DeployError: it cannot run there.
        """
        session = self.sessions[name]
        try:
            arrays = session.run(None, self.feeds(batch, length, ragged=True)[name])
        except Exception as error:  # ONNX Runtime derives its errors from Exception alone
            raise DeployError(
                f"{name} cannot run at batch {batch}, length {length}",
                cause=plain_line(error),
                remedy="measure at shapes the model was made for",
            ) from error
        return {
            value.name: torch.from_numpy(array)
            for value, array in zip(session.get_outputs(), arrays, strict=True)
            if hasattr(array, "dtype")
        }

    def _rows(self) -> dict[str, int]:
        """Return how many ids each input may take in every model."""
        found: dict[str, int] = {}
        for facts in self.facts.values():
            found |= {name: min(rows, found.get(name, rows)) for name, rows in facts.rows.items()}
        return found


def common_examples(found: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the examples with the smallest ids, since vocabularies may differ; empty if there are none."""
    return min(found, key=_largest, default={})


def _fixed(session: InferenceSession) -> tuple[int | None, int | None]:
    """Return the only batch and the only length a file takes; None where they are free."""
    inputs = session.get_inputs()
    rows = (value.shape[0] for value in inputs if value.shape)
    lengths = (value.shape[1] for value in inputs if len(value.shape) == 2 and "int" in value.type)
    batch, length = (next((size for size in sizes if isinstance(size, int)), None) for sizes in (rows, lengths))
    return batch, length


def _check_common(sessions: Mapping[str, InferenceSession]) -> None:
    first, *others = sessions
    wanted = {name: {value.name for value in session.get_inputs()} for name, session in sessions.items()}
    for name in others:
        if not wanted[first] & wanted[name]:
            raise UsageError(
                f"{first} and {name} take different inputs",
                cause=f"{', '.join(sorted(wanted[first]))} against {', '.join(sorted(wanted[name]))}",
                remedy="time models of the same inputs beside each other",
            )


def _below(value: Tensor, rows: int | None) -> Tensor:
    return value if rows is None or value.is_floating_point() else value.remainder(rows)


def _largest(examples: Mapping[str, Any]) -> int:
    return max(
        (int(v.max()) for v in examples.values() if isinstance(v, Tensor) and not v.is_floating_point()), default=0
    )
