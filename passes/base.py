"""What a pass is, and the one runner of passes."""

from __future__ import annotations

from collections.abc import Sequence

from torch.fx import GraphModule, Node
from torch.fx.passes.infra.pass_base import PassBase, PassResult

from fxprune.errors import PassError

__all__ = ["Pass", "PassResult", "run_passes", "subgraph_nodes"]


class Pass(PassBase):
    """One edit of a graph, with what must hold before (`requires`) and after (`ensures`)."""

    def call(self, graph_module: GraphModule) -> PassResult:
        """Edit the graph in place; `modified` is True only if something changed."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return type(self).__name__


def run_passes(gm: GraphModule, passes: Sequence[Pass]) -> bool:
    """Run `passes` in order, each checked before and after; return whether any changed something.

    Raises:
        PassError: a pass failed; the error names it and the passes that ran before.
    """
    done: list[str] = []
    changed = False
    for step in passes:
        try:
            step.requires(gm)
            result = step.call(gm)
            if result.modified:
                gm.graph.lint()
                gm.recompile()
            step.ensures(result.graph_module)
        except PassError:
            raise
        except Exception as error:
            before = ", ".join(done) or "none"
            raise PassError(
                f"pass {step!r} failed", cause=f"{type(error).__name__}: {error}; passes before: {before}"
            ) from error
        done.append(repr(step))
        changed |= result.modified
    return changed


def subgraph_nodes(gm: GraphModule) -> list[Node]:
    """Return the nodes that call another graph; passes see only the outer one."""
    return [node for node in gm.graph.nodes if node.op == "call_module" or "higher_order" in str(node.target)]
