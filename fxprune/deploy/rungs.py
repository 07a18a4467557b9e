"""The ladder of exporter settings, from the fastest graph to the one that always converts."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """Settings of the exporter."""

    name: str
    opset: int | None  # None: the exporter's default
    optimize: bool = True
    plain_attention: bool = False  # written out as matmul and softmax
    lean: bool = False  # rewritten for ONNX Runtime, see `make_lean`
    stepping: bool = False  # it mostly computes one row at once, see `make_lean`


# The rewritten graph first, then the exporter's own with fused attention; then around the exporter's faults: a rotary
# fusion that ignores broadcasts, translations that exist for the default opset only, and views of strided tensors in
# the decomposition of attention.
LADDER = (
    Rung(name="lean", opset=23, lean=True),
    Rung(name="opset 23", opset=23),
    Rung(name="opset 23, not optimised", opset=23, optimize=False),
    Rung(name="default opset", opset=None),
    Rung(name="default opset, plain attention", opset=None, plain_attention=True),
)
STEPS = tuple(replace(rung, stepping=True) for rung in LADDER)  # of graphs that continue from a past
