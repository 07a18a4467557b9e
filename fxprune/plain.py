"""An exported graph as a plain module of our own: no guards, no hooks, one name for one tensor, no needless nesting."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from fxprune.calls import is_item, module_of, source_of
from fxprune.errors import CaptureError
from fxprune.traced import Provenance, Traced, build, tied_names

ASSERTION = torch.ops.aten._assert_tensor_metadata.default
GRADIENT_MODE = torch.ops.higher_order.wrap_with_set_grad_enabled  # (enabled, graph, *operands)
AUTOCAST = torch.ops.higher_order.wrap_with_autocast  # (device, dtype, enabled, cached, graph, *operands)


def plain(exported: GraphModule, model: nn.Module, provenance: Provenance) -> Traced:
    """Copy an exported graph into a module of our own.

    Args:
        exported: the module of an exported program.
        model: what it was exported from, which has the same tensors; it says which names are tied.
        provenance: what else is known; its ties and computed buffers are found here.
    Raises:
        CaptureError: a part of the model runs under autocast, whose casts the graph does not show.
    """
    names = tied_names((*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)))
    persistent = set(model.state_dict())
    copier = _Copier(exported)
    graph = copier.run()
    aliases = {name: tuple(names[key]) for key, name in copier.seen.items() if len(names.get(key, ())) > 1}
    recomputed = frozenset(name for name in copier.tensors if name not in persistent)
    provenance = Provenance(aliases=aliases, recomputed=recomputed, rung=provenance.rung, dynamic=provenance.dynamic)
    return build(graph, copier.tensors, provenance, copier.graphs)


class _Copier:
    """Copies nodes; what wraps a part of the graph without changing its values is unwrapped."""

    def __init__(self, exported: GraphModule) -> None:
        self.exported = exported
        self.graph = Graph()
        self.tensors: dict[str, Tensor] = {}  # by canonical name
        self.graphs: dict[str, nn.Module] = {}  # the branches of a condition, for example
        self.seen: dict[int, str] = {}  # tensor -> canonical name
        self.readers: dict[str, Node] = {}

    def run(self) -> Graph:
        """Copy the whole graph."""
        self._copy_all(self.exported, {})
        self.graph._codegen = self.exported.graph._codegen
        return self.graph

    def _copy_all(self, owner: GraphModule, copies: dict[Node, Any]) -> Any:
        """Copy the nodes of one graph; return what it returns, where that is inside another."""
        for node in owner.graph.nodes:
            if node.op == "call_module" or node.target is ASSERTION or (node.op == "get_attr" and not node.users):
                continue
            if node.op == "output" and owner is not self.exported:
                return map_arg(node.args[0], copies.__getitem__)
            if node not in copies:
                copies[node] = self._copy(node, owner, copies)
        return None

    def _copy(self, node: Node, owner: GraphModule, copies: dict[Node, Any]) -> Any:
        if node.op == "get_attr":
            return self._read(node, _attribute(owner, str(node.target)))
        if node.target is GRADIENT_MODE:
            return self._unwrapped(node, 1, owner, copies)
        if node.target is AUTOCAST:
            if node.args[2]:
                raise _under_autocast(copies[node.args[4]])  # type: ignore[index]
            return self._unwrapped(node, 4, owner, copies)
        if is_item(node) and isinstance(copies[node.args[0]], (list, tuple)):  # type: ignore[index]
            return copies[node.args[0]][node.args[1]]  # type: ignore[index]
        return self.graph.node_copy(node, copies.__getitem__)

    def _read(self, node: Node, value: object) -> Node | GraphModule:
        target = str(node.target)
        if isinstance(value, Tensor):
            target = self.seen.setdefault(id(value), target)
            self.tensors.setdefault(target, value)
        elif isinstance(value, GraphModule) and all(user.target in (GRADIENT_MODE, AUTOCAST) for user in node.users):
            return value
        elif isinstance(value, nn.Module):
            self.graphs[target] = value
        if target not in self.readers:
            self.readers[target] = self.graph.node_copy(node)
            self.readers[target].target = target
        return self.readers[target]

    def _unwrapped(self, node: Node, place: int, owner: GraphModule, copies: dict[Node, Any]) -> Any:
        """Copy the nodes of the graph at `place` of the arguments; its inputs are the arguments behind it."""
        wrapped = node.args[place]
        assert isinstance(wrapped, Node)
        inner = copies[wrapped]
        assert isinstance(inner, GraphModule)
        inputs = [inside for inside in inner.graph.nodes if inside.op == "placeholder"]
        values = map_arg(node.args[place + 1 :], copies.__getitem__)
        return self._copy_all(inner, dict(zip(inputs, values, strict=True)))


def _under_autocast(part: GraphModule) -> CaptureError:
    node = next(node for node in part.graph.nodes if node.op == "call_function" and node.target is not ASSERTION)
    return CaptureError(
        "a part of the model runs under autocast",
        node=source_of(node) or node.name,
        module=module_of(node),
        cause="its casts stand in no graph",
        remedy="capture it without torch.autocast, and use autocast around the captured model",
    )


def _attribute(module: nn.Module, path: str) -> object:
    found: object = module
    for part in path.split("."):
        found = getattr(found, part)
    return found
