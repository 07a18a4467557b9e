"""Write down the defaults that an op computes from a size which may shrink."""

from __future__ import annotations

from dataclasses import dataclass

from torch._ops import OpOverload
from torch.fx import GraphModule

from fxprune.calls import bound_arguments, call_of, operand_nodes, results_of
from fxprune.passes.base import Pass, PassResult
from fxprune.rules import pins


@dataclass(frozen=True, repr=False)
class PinDefaults(Pass):
    """Make the pinned arguments explicit, such as attention's ``1/sqrt(head_dim)``.

    Recomputed from a slim head_dim the scale would change every logit. Numerics: exact.
    """

    def call(self, gm: GraphModule) -> PassResult:
        changed = False
        for node in gm.graph.nodes:
            if not isinstance(node.target, OpOverload):
                continue
            for name, default in pins(node.target).items():
                if bound_arguments(node)[name] is None:
                    node.update_kwarg(name, default(call_of(node, operand_nodes(node), results_of(node) or [])))
                    changed = True
        return PassResult(gm, modified=changed)
