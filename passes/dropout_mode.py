"""Dropout as an edge of the graph: training and evaluation differ in one flag a node."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.fx import GraphModule, Node

from fxprune.calls import bound_arguments
from fxprune.errors import PassError
from fxprune.passes.base import Pass, PassResult, subgraph_nodes

aten = torch.ops.aten


@dataclass(frozen=True, repr=False)
class DropoutMode(Pass):
    """Set the train flag of every dropout node. Numerics: exact in eval mode."""

    train: bool

    def requires(self, gm: GraphModule) -> None:
        if nested := subgraph_nodes(gm):
            raise PassError("a dropout may hide in a subgraph", node=nested[0], remedy="capture under torch.no_grad()")

    def call(self, gm: GraphModule) -> PassResult:
        stale = [node for node in dropouts(gm) if bound_arguments(node)["train"] is not self.train]
        for node in stale:
            given, p, _ = bound_arguments(node).values()
            node.args, node.kwargs = (given, p, self.train), {}
        return PassResult(gm, modified=bool(stale))

    def ensures(self, gm: GraphModule) -> None:
        assert all(bound_arguments(node)["train"] is self.train for node in dropouts(gm))


def dropouts(gm: GraphModule) -> list[Node]:
    """Return the dropout nodes."""
    return [node for node in gm.graph.nodes if node.target in (aten.dropout.default, aten.dropout_.default)]
