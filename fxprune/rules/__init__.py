"""What each op does to axes: one table, fed by pointwise ops, text lines and shape rules."""

from fxprune.rules import compute, layout, ops
from fxprune.rules.table import Applied, Call, applied, known_ops, parameters_of, pins

__all__ = ["Applied", "Call", "applied", "compute", "known_ops", "layout", "ops", "parameters_of", "pins"]
