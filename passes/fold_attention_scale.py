"""Absorb a pinned attention scale into the weights, for software that computes ``1/sqrt(head_dim)`` itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.fx import GraphModule, Node

from fxprune.axes import Factor, factors_of, size_of
from fxprune.calls import bound_arguments
from fxprune.inference import Inferred
from fxprune.passes.base import Pass, PassResult
from fxprune.traced import tensor_of
from fxprune.units import positions

ATTENTION = torch.ops.aten.scaled_dot_product_attention.default


@dataclass(frozen=True, repr=False)
class FoldAttentionScale(Pass):
    """Scale query and key weights so that each attention may use the default scale of its slim head_dim.

    With a dense head_dim of 64 cut to 20 the pinned scale is 1/8; software that loads the weights applies 1/sqrt(20).
    Query and key are each multiplied by ``sqrt(pinned / default)``, wherever parameters hold their dimensions.
    Numerics: exact up to rounding, unless something between the weights and the product is not linear (the caller
    compares outputs).

    Args:
        inferred: the axis types of the graph.
    """

    inferred: Inferred

    def call(self, gm: GraphModule) -> PassResult:
        factors: dict[Factor, float] = {}
        for node in gm.graph.nodes:
            if node.target is ATTENTION and (pinned := bound_arguments(node)["scale"]) is not None:
                default = _default_scale(self.inferred, node)
                if abs(pinned / default - 1) > 1e-9:
                    factors |= dict.fromkeys(_query_factors(self.inferred, node), (pinned / default) ** 0.5)
                    node.update_kwarg("scale", default)
        with torch.no_grad():
            for name, axes in self.inferred.tensors.items():
                tensor = tensor_of(gm, name)
                if isinstance(tensor, nn.Parameter):
                    for dim, axis in enumerate(axes):
                        if set(factors_of(axis)) & factors.keys():
                            shape = [-1 if i == dim else 1 for i in range(tensor.ndim)]
                            tensor.mul_(_multipliers(axis, factors).to(tensor).view(shape))
        return PassResult(gm, modified=bool(factors))


def _query_factors(inferred: Inferred, node: Node) -> list[Factor]:
    query = node.args[0]
    assert isinstance(query, Node)
    return factors_of(inferred.of(query)[-1])


def _default_scale(inferred: Inferred, node: Node) -> float:
    query = node.args[0]
    assert isinstance(query, Node)
    size = size_of(inferred.of(query)[-1])
    assert isinstance(size, int)
    return float(size) ** -0.5


def _multipliers(axis: tuple, factors: dict[Factor, float]) -> torch.Tensor:
    """Return the multiplier of each position: once for each scaled dimension it lies on."""
    total = torch.ones(1, dtype=torch.float64)
    for factor, units in positions(axis):
        if factor in factors:
            total = total * torch.full(units.shape, factors[factor], dtype=torch.float64).where(units >= 0, 1.0)
    return total
