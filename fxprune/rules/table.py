"""The table of op rules, and the three ways a rule gets into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

import torch
from torch._ops import OpOverload

from fxprune.errors import RuleError
from fxprune.rules.notation import parse
from fxprune.sizes import Size

Shape: TypeAlias = tuple[Size, ...]
Literals: TypeAlias = Mapping[str, "str | Sequence[str | None]"]


@dataclass(frozen=True, slots=True)
class Call:
    """One use of an op: its arguments with every tensor replaced by its shape."""

    op: OpOverload
    arguments: Mapping[str, Any]  # by schema name; defaults filled in; symbolic integers are no `int`
    operands: list[Shape | None]  # the tensors in schema order, lists flattened, None where absent
    results: list[Shape]
    masks: frozenset[int] = frozenset()  # which of the operands are boolean

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    @property
    def x(self) -> Shape:
        """Shape of the first operand."""
        assert self.operands[0] is not None
        return self.operands[0]

    @property
    def out(self) -> Shape:
        """Shape of the first result."""
        return self.results[0]


@dataclass(frozen=True, slots=True)
class Applied:
    """What one call does to axes.

    Attributes:
        text: the rule, in the notation of `fxprune.rules.notation`.
        sizes: sizes of names that no operand or result shows on its own.
        literals: which literal argument follows which dimension; ``(a + b)`` is the sum of two.
        reason: why the names with ``!`` may not be cut.
        roles: what a name means to the reader of a report, e.g. ``{"h": "heads"}``.
    """

    text: str
    sizes: Mapping[str, Size] = field(default_factory=dict)
    literals: Literals = field(default_factory=dict)
    reason: str = ""
    roles: Mapping[str, str] = field(default_factory=dict)


ShapeRule: TypeAlias = Callable[[Call], Applied]
Pin: TypeAlias = Callable[[Call], object]

_RULES: dict[OpOverload, Applied | ShapeRule] = {}
_PINS: dict[OpOverload, Mapping[str, Pin]] = {}
_ELSEWHERE: dict[str, Applied] = {}  # ops a library registers only once it is imported, by qualified name


def rule(
    op: OpOverload,
    text: str,
    *,
    sizes: Literals | None = None,
    reason: str = "",
    roles: Mapping[str, str] | None = None,
) -> None:
    """Add one line: `op` relates axes as `text` says; `sizes` names the literals that follow a dimension."""
    parse(text)
    _add(op, Applied(text, literals=sizes or {}, reason=reason, roles=roles or {}))


def rule_elsewhere(name: str, text: str, *, reason: str = "") -> None:
    """Add one line for an op that a library registers, such as ``"library::op"``."""
    parse(text)
    _ELSEWHERE[name] = Applied(text, reason=reason)


def pointwise(*ops: OpOverload) -> None:
    """Add ops that treat every element alike: all tensor operands broadcast to the result."""
    for op in ops:
        tensors = sum("Tensor" in str(argument.type) for argument in op._schema.arguments)
        _add(op, Applied(", ".join(["..."] + ["...?"] * (tensors - 1)) + " -> ..."))


def first_only(*ops: OpOverload) -> None:
    """Add ops whose result has the shape of the first operand, whatever the others are."""
    for op in ops:
        tensors = sum("Tensor" in str(argument.type) for argument in op._schema.arguments)
        _add(op, Applied(", ".join(["..."] + [""] * (tensors - 1)) + " -> ..."))


def shape_rule(*ops: OpOverload) -> Callable[[ShapeRule], ShapeRule]:
    """Add a function that writes the rule of one call from its shapes and arguments."""

    def register(function: ShapeRule) -> ShapeRule:
        for op in ops:
            _add(op, function)
        return function

    return register


def pin(op: OpOverload, **defaults: Pin) -> None:
    """Name arguments of `op` whose default is computed from a size, and would drift when that is cut."""
    _PINS[op] = defaults


def pins(op: OpOverload) -> Mapping[str, Pin]:
    """Return the arguments of `op` to make explicit, with the function that computes the default."""
    return _PINS.get(op, {})


def applied(call: Call) -> Applied | None:
    """Return what `call` does to axes; None for an op without a rule."""
    entry = _RULES.get(call.op) or _ELSEWHERE.get(call.op.name())
    return entry(call) if callable(entry) else entry


def known_ops() -> dict[OpOverload, Applied | ShapeRule]:
    """Return the whole table."""
    return dict(_RULES)


def known_elsewhere() -> dict[str, Applied]:
    """Return the rules of ops that are registered only once their library is imported."""
    return dict(_ELSEWHERE)


def opaque(call: Call, reason: str) -> Applied:
    """Relate nothing and freeze everything: the honest rule of a call that fits no better one."""
    count = iter(range(10_000))

    def frozen(shape: Shape | None) -> str:
        return "1?" if shape is None else " ".join(f"n{next(count)}!" for _ in shape)

    left = ", ".join(frozen(shape) for shape in call.operands)
    right = ", ".join(frozen(shape) for shape in call.results)
    return Applied(f"{left} -> {right}", reason=reason)


def _add(op: OpOverload, entry: Applied | ShapeRule) -> None:
    if op in _RULES:
        raise RuleError(f"{op} has a rule already", remedy="change that one: two rules for an op would hide each other")
    _RULES[op] = entry


@cache
def parameters_of(op: OpOverload) -> tuple[tuple[str, bool, object], ...]:
    """Return (name, whether it takes tensors, default) of each argument of `op`."""
    return tuple((a.name, "Tensor" in str(a.type), a.default_value) for a in op._schema.arguments)


def overload(name: str) -> OpOverload | None:
    """Return ``torch.ops.aten.<name>`` if this torch has it, e.g. ``overload("add.Tensor")``."""
    packet, _, which = name.partition(".")
    found = getattr(getattr(torch.ops.aten, packet, None), which or "default", None)
    return found if isinstance(found, OpOverload) else None
