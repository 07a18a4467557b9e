"""What a part of a run is saved as: plain data and tensors by name, and nothing that could run when it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fxprune.errors import CheckpointError

_NESTED = "/"  # between the names of parts


@dataclass(frozen=True, slots=True)
class Saved:
    """The state of one part; whoever reads it says what each entry has to be.

    Attributes:
        data: of JSON.
        tensors: by name; those of a part within have its name before theirs.
        within: names of the parts this one is in, for messages.
    """

    data: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    within: str = ""

    # ------------------------------------------------------------------ writing

    def add(self, name: str, part: Saved) -> None:
        """Put a part into this one."""
        self.data[name] = part.data
        self.tensors.update({f"{name}{_NESTED}{key}": tensor for key, tensor in part.tensors.items()})

    # ------------------------------------------------------------------ reading

    def part(self, name: str) -> Saved:
        """Return the part called `name`."""
        data = self._of(name, dict)
        prefix = name + _NESTED
        tensors = {key.removeprefix(prefix): t for key, t in self.tensors.items() if key.startswith(prefix)}
        return Saved(data, tensors, f"{self.within}{prefix}")

    def integer(self, name: str, least: int = 0, most: int | None = None) -> int:
        """Return a whole number within bounds."""
        value: int = self._of(name, int)
        if value < least or (most is not None and value > most):
            raise self.wrong(f"{name} is {value}")
        return value

    def number(self, name: str) -> float:
        """Return a number that is finite and not negative."""
        value = self.reading(name)
        if not (math.isfinite(value) and value >= 0):
            raise self.wrong(f"{name} is {value}")
        return value

    def reading(self, name: str) -> float:
        """Return a number that was measured, whatever came out."""
        return self.measured(name, self._of(name, (int, float)))

    def measured(self, name: str, value: float) -> float:
        """Return `value`, which stands in the entry `name`, as a float holds it."""
        try:
            return float(value)
        except OverflowError as error:
            raise self.wrong(f"{name} is {value!r:.60}") from error

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value: bool = self._of(name, bool)
        return value

    def text(self, name: str) -> str:
        """Return a text."""
        value: str = self._of(name, str)
        return value

    def items(self, name: str, kind: type | tuple[type, ...]) -> list[Any]:
        """Return a list of one kind, or of any of several."""
        value: list[Any] = self._of(name, list)
        if odd := [item for item in value if not _is(item, kind)]:
            raise self.wrong(f"{name} holds {odd[0]!r:.60}")
        return value

    def optional(self, name: str) -> bool:
        """Tell whether there is an entry that is not null."""
        return self.data.get(name) is not None

    def tensor(self, name: str, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Return a tensor of a shape and type, in memory of its own."""
        if name not in self.tensors:
            raise self.wrong(f"there is no tensor {name!r}")
        found = self.tensors[name]
        if tuple(found.shape) != tuple(shape) or found.dtype != dtype:
            kind = str(found.dtype).removeprefix("torch.")
            raise self.wrong(f"tensor {name!r} is {kind} {list(found.shape)}, and {list(shape)} is needed")
        return found.clone()

    def check_names(self, expected: Sequence[str]) -> None:
        """Raise CheckpointError unless the tensors are those of these names."""
        if odd := sorted(self.tensors.keys() ^ set(expected)):
            raise self.wrong(f"tensor {odd[0]!r} is {'not expected' if odd[0] in self.tensors else 'missing'}")

    def wrong(self, cause: str) -> CheckpointError:
        """Say that this state does not fit the run."""
        return CheckpointError(
            f"the checkpoint does not fit the run: {self.within.rstrip(_NESTED) or 'state'}",
            cause=cause,
            remedy="resume with the model, data and version of fxprune the run began with",
        )

    def _of(self, name: str, kind: type | tuple[type, ...]) -> Any:
        value = self.data.get(name)
        if not _is(value, kind):
            raise self.wrong(f"{name} is {value!r:.60}" if name in self.data else f"there is no {name}")
        return value


def _is(value: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def by_prefix(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under the name of what they have in common."""
    return {f"{name}{_NESTED}{key}": tensor for key, tensor in tensors.items()}
