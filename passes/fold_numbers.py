"""Absorb changed numbers into the weights, for software that computes a number itself from a slim size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxprune.errors import PassError
from fxprune.passes.base import Pass, PassResult
from fxprune.rescaling.equations import ScaleEquations, number_at, set_number
from fxprune.traced import tensor_of


@dataclass(frozen=True, repr=False)
class FoldNumbers(Pass):
    """Write other numbers into products, quotients and attention, and scale weights so that nothing else changes.

    With a dense head_dim of 64 cut to 20 the pinned scale of attention is 1/8; software that loads the weights applies
    1/sqrt(20). A decoder multiplies its embeddings by sqrt(width). Which weights make up for that, and by how much,
    follows from how each op answers to scaled operands; queries and keys share what is needed between them.
    Numerics: exact up to rounding.

    Args:
        numbers: node that scales its result -> the number it shall have.
    Raises:
        PassError: no weights can make up for a change.
    """

    numbers: Mapping[Node, float]

    def call(self, gm: GraphModule) -> PassResult:
        due = {node: new for node, new in self.numbers.items() if number_at(node) != new}
        if not due:
            return PassResult(gm, modified=False)
        equations = _solved(gm, due)
        if equations is None:
            raise _refusal(gm, due)
        with torch.no_grad():
            for tensor, ratio, offset in _scaled(gm, equations):
                tensor.add_(offset).mul_(ratio).sub_(offset)
        for node, new in due.items():
            set_number(node, new)
        return PassResult(gm, modified=True)

    def ensures(self, gm: GraphModule) -> None:
        assert all(number_at(node) == new for node, new in self.numbers.items())


def _scaled(gm: GraphModule, equations: ScaleEquations) -> list[tuple[Tensor, Tensor | float, float]]:
    """Return parameters with what each is multiplied by, and the number that is added to it first."""
    found: list[tuple[Tensor, Tensor | float, float]] = []
    for parameter in gm.parameters():
        ratio = exp(equations.system[id(parameter)])
        if abs(ratio - 1.0) > 1e-12:
            found.append((parameter, ratio, equations.offsets.get(id(parameter), 0.0)))
    for piece in dict.fromkeys(equations.pieces.values()):
        ratio = exp(equations.system[piece])
        for name, dim in piece.places if abs(ratio - 1.0) > 1e-12 else ():
            tensor = tensor_of(gm, name)
            shape = [-1 if place == dim % tensor.ndim else 1 for place in range(tensor.ndim)]
            rows = torch.ones(tensor.shape[dim]).to(tensor).index_fill(0, piece.rows.to(tensor.device), ratio)
            found.append((tensor, rows.view(shape), 0.0))
    return found


def _solved(gm: GraphModule, due: Mapping[Node, float]) -> ScaleEquations | None:
    if any(new / number_at(node) <= 0.0 for node, new in due.items()):
        return None  # no weight is multiplied by a negative number: what is between may be a relu
    equations = ScaleEquations(gm, due)
    return equations if equations.system.solve() else None


def _refusal(gm: GraphModule, due: Mapping[Node, float]) -> PassError:
    alone = (node for node, new in due.items() if _solved(gm, {node: new}) is None)
    node = next(alone, next(iter(due)))
    return PassError(
        f"no weight can absorb the change of {number_at(node)} to {due[node]}",
        node=node,
        cause="what it scales is used elsewhere too, or goes through an op that is not linear",
        remedy="use the .pt2 or ONNX file, which keep the dense number",
    )
