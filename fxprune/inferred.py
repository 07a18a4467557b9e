"""What axis inference finds: the axes of every tensor, how ops relate them, what is frozen and why."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch.fx import Node

from fxprune.axes import Axis
from fxprune.rules.notation import Name, Operand, Pattern

Axes = tuple[Axis, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """Why a group may not be cut, and what said so."""

    reason: str
    node: str = ""
    module: str = ""
    source: str = ""

    def __str__(self) -> str:
        where = ", ".join(part for part in (self.node, self.module) if part)
        return f"{self.reason} at {where}" if where else self.reason


@dataclass(frozen=True, slots=True)
class Literal:
    """An integer argument of `node` that must equal the size of `axis`."""

    node: Node
    argument: str
    index: int | None
    axis: Axis


@dataclass(frozen=True, slots=True)
class Line:
    """One tensor of a rule that was applied: its text, its axes, and where it comes from."""

    text: Operand
    axes: Axes
    source: Node
    result: int = 0  # which of the results of `source`

    def dims(self) -> list[Pattern]:
        """Return one pattern for each dimension."""
        leading = len(self.axes) - len(self.text.dims)
        return [*(_leading(leading - place) for place in range(leading)), *self.text.dims]


@dataclass(frozen=True, slots=True)
class Use:
    """One rule applied to one node: its operands and results, and the axes its names stand for."""

    node: Node
    lines: list[Line]
    names: dict[str, Axis]


@dataclass(slots=True)
class Inferred:
    """What the walk found: the axes of every tensor, and where sizes stand as literals."""

    axes: dict[Node, list[Axes]] = field(default_factory=dict)  # one entry a result
    tensors: dict[str, Axes] = field(default_factory=dict)  # parameters and buffers, by canonical name
    aliases: dict[str, str] = field(default_factory=dict)  # other names of tied ones -> canonical name
    literals: list[Literal] = field(default_factory=list)
    freezes: list[tuple[Axis, str, Node]] = field(default_factory=list)
    roles: list[tuple[Axis, str]] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)

    def of(self, node: Node) -> Axes:
        """Return the axes of a node with one result."""
        return self.axes[node][0]

    def freeze(self, axis: Axis, reason: str, node: Node) -> None:
        """Forbid to cut anything on `axis`."""
        if axis:
            self.freezes.append((axis, reason, node))


_LEADING = [Name(f"...{i}") for i in range(64)]


def _leading(distance: int) -> Name:
    return _LEADING[distance]
