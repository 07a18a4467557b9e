"""What each op does to axes: one table, fed by pointwise ops, text lines and shape rules."""

from fxprune.rules import compute, indexing, layout, ops, pieces, spatial, writing
from fxprune.rules.table import Applied, Call, applied, known_ops, parameters_of, pins

__all__ = [
    "Applied",
    "Call",
    "applied",
    "compute",
    "indexing",
    "known_ops",
    "layout",
    "ops",
    "parameters_of",
    "pieces",
    "pins",
    "spatial",
    "writing",
]
