"""Numbers a class computes from a width, such as ``1/sqrt(dim)``, that no weight can make up for when it changes."""

from __future__ import annotations

from math import isclose, log

from torch.fx import GraphModule, Node

from fxprune.calls import is_tensor
from fxprune.rescaling.equations import ScaleEquations, number_at, scales

_POWERS = (-1.0, -0.5, 0.5, 1.0)  # of a width, that are written as numbers
_CHANGED = 1.25  # any other number: whether weights can make up for it does not depend on which


def unabsorbed(gm: GraphModule) -> frozenset[str]:
    """Return the names of the nodes whose last dimension must keep its size.

    Their value is multiplied by a number that is a power of the size, and what it is multiplied by cannot move into the
    weights around: the gated delta rule scales queries that were normalised before. A class at another width would
    compute with another number.
    """
    suspects = {node: value for node in gm.graph.nodes if (value := _scaled(node)) is not None}
    if not suspects or _absorbs(gm, *suspects):
        return frozenset()
    return frozenset(value.name for node, value in suspects.items() if not _absorbs(gm, node))


def _scaled(node: Node) -> Node | None:
    """Return the value that is scaled at `node` by a power of its last dimension."""
    if node.op != "call_function" or not scales(node):
        return None
    value = node.args[0]  # of attention the queries
    if not isinstance(value, Node) or not is_tensor(value):
        return None
    size, number = (value.meta["val"].shape or (0,))[-1], abs(number_at(node))
    if not isinstance(size, int) or size < 2:
        return None
    return value if any(isclose(log(number), power * log(size), abs_tol=1e-6) for power in _POWERS) else None


def _absorbs(gm: GraphModule, *nodes: Node) -> bool:
    return ScaleEquations(gm, {node: number_at(node) * _CHANGED for node in nodes}).system.solve()
