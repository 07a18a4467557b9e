"""Matrix products in a graph: which calls multiply and sum, and over which axes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch._ops import OpOverload

from fxprune.axes import Axis
from fxprune.inferred import Line, Use
from fxprune.rules.notation import names_of

aten = torch.ops.aten
ATTENTION = aten.scaled_dot_product_attention.default
CONVOLUTIONS = {getattr(getattr(aten, f"conv{n}d"), overload) for n in (1, 2, 3) for overload in ("default", "padding")}
_PLAIN = {
    aten.linear.default,
    aten.mm.default,
    aten.bmm.default,
    aten.matmul.default,
    aten.mv.default,
    aten.dot.default,
}
_ADDED = {aten.addmm.default, aten.baddbmm.default}  # what is added stands before the two factors
_GROUPED = "transformers::grouped_mm_fallback"  # each row times the matrix of its expert


@dataclass(frozen=True, slots=True)
class Contraction:
    """What one call multiplies, and the names of its rule that are summed away."""

    factors: tuple[Line, ...]
    summed: tuple[str, ...]


def contraction_of(use: Use) -> Contraction | None:
    """Return what a call multiplies and sums; None for other calls. Of attention, the scores: queries times keys."""
    target = use.node.target
    operands = [line for line in use.lines if line.source is not use.node]
    if target is ATTENTION:
        return Contraction(tuple(operands[:2]), ("e",))
    if target in CONVOLUTIONS or target in _PLAIN or _is_grouped(target):
        return _contraction(operands[:2], use)
    if target in _ADDED:
        return _contraction(operands[-2:], use)
    if target is aten.einsum.default and len(operands) > 1:
        return _contraction(operands, use)
    return None


def products_of(use: Use) -> list[tuple[Axis, ...]]:
    """Return the axes of each matrix product in one call: the size of their product is its multiply-accumulates."""
    found, result = contraction_of(use), use.lines[-1]
    if found is None:
        return []
    if use.node.target is ATTENTION:
        keys = use.names.get("k", ())
        return [(*found.factors[0].axes, keys), (*result.axes, keys)]
    if use.node.target in CONVOLUTIONS:
        return [(*result.axes, *found.factors[1].axes[1:])]
    return [(*result.axes, *(use.names.get(name, ()) for name in found.summed))]


def _contraction(factors: list[Line], use: Use) -> Contraction:
    """Names that stand in several factors and not in the result are summed away."""
    held = [dict.fromkeys(_names(line)) for line in factors]
    kept = set(_names(use.lines[-1]))
    names = dict.fromkeys(name for names in held for name in names if name not in kept)
    return Contraction(tuple(factors), tuple(name for name in names if sum(name in names for names in held) > 1))


def _names(line: Line) -> list[str]:
    return [name for pattern in line.dims() for name in names_of(pattern)]


def _is_grouped(target: object) -> bool:
    return isinstance(target, OpOverload) and target.name() == _GROUPED
