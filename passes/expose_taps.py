"""Extra outputs for distillation: a captured graph also returns the values of chosen nodes."""

from __future__ import annotations

from dataclasses import dataclass

from torch.fx import GraphModule, Node
from torch.fx.graph import CodeGen
from torch.fx.node import map_arg
from torch.utils._pytree import tree_leaves

from fxprune.errors import PassError
from fxprune.passes.base import Pass, PassResult


@dataclass(frozen=True, repr=False)
class ExposeTaps(Pass):
    """Return ``(outputs, taps)``: the tensors of the output in order, then the values of `names`.

    The graph is then called with its inputs by name or in order, and returns plain tuples. `HideTaps` undoes it.
    Numerics: exact.
    """

    names: tuple[str, ...]

    def requires(self, gm: GraphModule) -> None:
        known = {node.name for node in gm.graph.nodes}
        if missing := [name for name in self.names if name not in known]:
            raise PassError(f"there is no node {missing[0]!r} to tap", remedy="find the taps in this very graph")

    def call(self, gm: GraphModule) -> PassResult:
        if "hidden_output" in gm.meta:
            return PassResult(gm, modified=False)
        nodes = {node.name: node for node in gm.graph.nodes}
        output = _output(gm)
        gm.meta["hidden_output"] = (output.args, gm.graph._codegen)
        outputs = tuple(value for value in tree_leaves(output.args) if isinstance(value, Node))
        output.args = ((outputs, tuple(nodes[name] for name in self.names)),)
        gm.graph.set_codegen(CodeGen())
        return PassResult(gm, modified=True)


@dataclass(frozen=True, repr=False)
class HideTaps(Pass):
    """Give a graph back the outputs it was captured with. Numerics: exact."""

    def call(self, gm: GraphModule) -> PassResult:
        if "hidden_output" not in gm.meta:
            return PassResult(gm, modified=False)
        args, codegen = gm.meta.pop("hidden_output")
        nodes = {node.name: node for node in gm.graph.nodes}  # a copy of a tapped graph has nodes of its own
        _output(gm).args = map_arg(args, lambda node: nodes[node.name])
        gm.graph.set_codegen(codegen)
        return PassResult(gm, modified=True)


def _output(gm: GraphModule) -> Node:
    (output,) = (node for node in gm.graph.nodes if node.op == "output")
    return output
