"""Sizes of axes: an integer, or an integer times symbols such as the batch and sequence length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Symbolic:
    """``coefficient * s0 * s1 ...``; a symbol is any expression that is no such product itself."""

    coefficient: int
    symbols: tuple[str, ...]

    def __str__(self) -> str:
        return "*".join([*([str(self.coefficient)] if self.coefficient != 1 else []), *self.symbols])


Size: TypeAlias = int | Symbolic

_SEEN: dict[object, Symbolic] = {}  # reading an expression is slow and the same few come again and again


def size_from(value: int | torch.SymInt) -> Size:
    """Turn one entry of a traced shape into a `Size`."""
    if isinstance(value, int):
        return value
    expr = value.node.expr
    if expr not in _SEEN:
        if expr.is_Integer:
            return int(expr)
        coefficient, rest = _split_expr(expr)
        _SEEN[expr] = Symbolic(coefficient, tuple(sorted(str(factor) for factor in _factors(rest))))
    return _SEEN[expr]


def _split_expr(expr: Any) -> tuple[int, Any]:
    """Return the whole number before an expression, and the rest."""
    coefficient, rest = expr.as_coeff_Mul()
    return (int(coefficient), rest) if coefficient.is_Integer else (1, expr)


def _factors(expr: object) -> list[object]:
    found: list[object] = []
    for factor in expr.as_ordered_factors():  # type: ignore[attr-defined]
        base, exponent = factor.as_base_exp()
        found.extend([base] * int(exponent) if exponent.is_Integer and exponent > 0 else [factor])
    return found


def symbol_values(sizes: Iterable[torch.SymInt], given: Mapping[object, int]) -> dict[str, int]:
    """Return the value of every symbol in `sizes` that follows from the free ones among them that are `given`."""
    values: dict[str, int] = {}
    for expr in dict.fromkeys(size.node.expr for size in sizes):
        for factor in _factors(_split_expr(expr)[1]):
            value = factor.subs(given)  # type: ignore[attr-defined]
            if value.is_Integer:
                values[str(factor)] = int(value)
    return values


def times(a: Size, b: Size) -> Size:
    """Multiply two sizes.

    >>> print(times(12, Symbolic(1, ("s0",))))
    12*s0
    """
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    (n, xs), (m, ys) = _split(a), _split(b)
    return Symbolic(n * m, tuple(sorted(xs + ys)))


def divide(a: Size, b: Size) -> Size | None:
    """Divide two sizes where nothing is left over; None otherwise.

    >>> divide(768, 12), divide(768, 7)
    (64, None)
    """
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b and a % b == 0 else None
    (n, xs), (m, ys) = _split(a), _split(b)
    left, taken = Counter(xs), Counter(ys)
    if not m or n % m or any(left[symbol] < count for symbol, count in taken.items()):
        return None
    symbols = tuple(sorted((left - taken).elements()))
    return Symbolic(n // m, symbols) if symbols else n // m


def product(sizes: list[Size]) -> Size:
    """Multiply many sizes."""
    if all(isinstance(size, int) for size in sizes):
        return prod(sizes)  # type: ignore[arg-type]
    total: Size = 1
    for size in sizes:
        total = times(total, size)
    return total


def _split(size: Size) -> tuple[int, tuple[str, ...]]:
    return (size, ()) if isinstance(size, int) else (size.coefficient, size.symbols)
