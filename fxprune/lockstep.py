"""Two states of one graph, before and after a cut, computed node by node side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from fxprune.traced import input_values

Call = tuple[tuple[Any, ...], dict[str, Any]]
Values = list[Any]  # of one node, for each set of inputs


class State:
    """What a graph computes, as it is now: a later cut changes its sizes and tensors, not these.

    Costs no memory before a cut replaces the tensors.
    """

    def __init__(self, gm: GraphModule) -> None:
        self.calls: dict[str, Call] = {node.name: (node.args, dict(node.kwargs)) for node in gm.graph.nodes}
        self.tensors = {node.name: _held(gm, str(node.target)) for node in gm.graph.nodes if node.op == "get_attr"}


class Walk:
    """Values of one state by the name of the node, each kept until its last use.

    Args:
        state: of the graph.
        inputs: keyword arguments of the graph, several times.
        until: the last node that is computed.
    """

    def __init__(self, state: State, gm: GraphModule, inputs: Sequence[Mapping[str, Any]], until: Node) -> None:
        self.state, self.count = state, len(inputs)
        self.given = list(zip(*[[_own(value) for value in input_values(gm, kwargs)] for kwargs in inputs], strict=True))
        self.values: dict[str, Values] = {}
        self._dead = _last_uses(gm, until)
        self._placeholders: Iterator[tuple[Any, ...]] = iter(self.given)

    def step(self, node: Node) -> Values:
        """Compute one node on all inputs, in the order of the graph."""
        if node.op == "placeholder":
            found: Values = list(next(self._placeholders))
        elif node.op == "get_attr":
            found = [self.state.tensors[node.name]] * self.count
        else:
            found = [self.call(node, i) for i in range(self.count)]
        self.values[node.name] = found
        return found

    def call(self, node: Node, i: int, instead: Mapping[str, Any] | None = None) -> Any:
        """Compute a node on the inputs `i`, with other operands where `instead` has them."""
        args, kwargs = map_arg(
            self.state.calls[node.name],
            lambda used: instead[used.name] if instead and used.name in instead else self.values[used.name][i],
        )
        return node.target(*args, **kwargs)  # type: ignore[operator]

    def free(self, node: Node) -> None:
        """Forget what no node after `node` reads."""
        for dead in self._dead.get(node.name, ()):
            self.values.pop(dead, None)


def nodes_until(gm: GraphModule, last: Node) -> Iterator[Node]:
    """Yield the nodes of a graph up to `last`."""
    for node in gm.graph.nodes:
        yield node
        if node is last:
            return


def _last_uses(gm: GraphModule, until: Node) -> dict[str, list[str]]:
    """Return, for each node, the values that nothing after it reads."""
    last: dict[str, str] = {}
    for node in nodes_until(gm, until):
        last |= dict.fromkeys([node.name, *(used.name for used in node.all_input_nodes)], node.name)
    dead: dict[str, list[str]] = {}
    for value, reader in last.items():
        dead.setdefault(reader, []).append(value)
    return dead


def _held(gm: GraphModule, name: str) -> Any:
    """Return a tensor, or the graph a higher-order op calls."""
    value: Any = gm
    for part in name.split("."):
        value = getattr(value, part)
    return value.detach() if isinstance(value, Tensor) else value


def _own(value: Any) -> Any:
    """Return a copy: a graph may write into its inputs."""
    return value.clone() if isinstance(value, torch.Tensor) else value
