"""Drop nodes whose results nobody uses, and reads of parameters that went with them."""

from __future__ import annotations

from dataclasses import dataclass

from torch.fx import GraphModule

from fxprune.passes.base import Pass, PassResult


@dataclass(frozen=True, repr=False)
class DeadCode(Pass):
    """Remove dead nodes. Numerics: exact."""

    def call(self, gm: GraphModule) -> PassResult:
        return PassResult(gm, modified=gm.graph.eliminate_dead_code())
