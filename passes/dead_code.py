"""Drop nodes whose results nobody uses, and reads of parameters that went with them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch.fx import GraphModule

from fxprune.passes.base import Pass, PassResult
from fxprune.traced import remove_tensor


@dataclass(frozen=True, repr=False)
class DeadCode(Pass):
    """Remove dead nodes, and parameters and buffers nothing reads under any of their names. Numerics: exact."""

    def call(self, gm: GraphModule) -> PassResult:
        modified = gm.graph.eliminate_dead_code()
        read = {str(node.target) for node in gm.graph.nodes if node.op == "get_attr"}
        tensors = [*gm.named_parameters(remove_duplicate=False), *gm.named_buffers(remove_duplicate=False)]
        kept = {id(tensor) for name, tensor in tensors if name in read}
        unread = [name for name, tensor in tensors if id(tensor) not in kept]
        for name in unread:
            remove_tensor(gm, name)
        if unread and "provenance" in gm.meta:
            known = gm.meta["provenance"]
            gm.meta["provenance"] = replace(known, recomputed=known.recomputed - set(unread))
        return PassResult(gm, modified=modified or bool(unread))
