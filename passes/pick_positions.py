"""A head only where it is looked at: masked LM reads one position in seven, and the vocabulary is the widest axis."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch._ops import OpOverload
from torch.fx import GraphModule, Node

from fxprune.calls import call_of, is_tensor, operand_nodes, results_of
from fxprune.errors import PassError
from fxprune.passes.base import Pass, PassResult
from fxprune.rules import applied
from fxprune.rules.notation import parse

POSITIONS = "picked_positions"  # the new input


@dataclass(frozen=True, repr=False)
class PickPositions(Pass):
    """Compute an output only at the positions a new input names: int64 indices into the flattened (batch, length).

    The output's first two dimensions become one. Where its head begins is found by walking back from it over ops that
    treat each position alone, as their rules say. Runs on a graph with exposed taps; `AllPositions` undoes it.
    Numerics: exact at those positions.

    Args:
        place: of the output, (batch, length, ...), among the outputs.
    """

    place: int

    def requires(self, gm: GraphModule) -> None:
        if "hidden_output" not in gm.meta:
            raise PassError(
                "a new input needs a graph that is called with plain values", remedy="run ExposeTaps before"
            )

    def call(self, gm: GraphModule) -> PassResult:
        head = head_of(_outputs(gm)[self.place])
        if picks_positions(gm) or not head:
            return PassResult(gm, modified=False)
        first, source = head[-1]
        inputs = [node for node in gm.graph.nodes if node.op == "placeholder"]
        with gm.graph.inserting_after(inputs[-1]):
            positions = gm.graph.placeholder(POSITIONS)
        with gm.graph.inserting_before(first):
            flat = gm.graph.call_function(torch.ops.aten.flatten.using_ints, (source, 0, 1))
            picked = gm.graph.call_function(torch.ops.aten.index_select.default, (flat, 0, positions))
        first.replace_input_with(source, picked)
        return PassResult(gm, modified=True)


@dataclass(frozen=True, repr=False)
class AllPositions(Pass):
    """Undo `PickPositions`. Numerics: exact."""

    def call(self, gm: GraphModule) -> PassResult:
        if not picks_positions(gm):
            return PassResult(gm, modified=False)
        positions = next(node for node in gm.graph.nodes if node.op == "placeholder" and node.name == POSITIONS)
        (picked,) = positions.users
        flat = picked.args[0]
        assert isinstance(flat, Node)
        picked.replace_all_uses_with(flat.args[0])
        for node in (picked, flat, positions):
            gm.graph.erase_node(node)
        return PassResult(gm, modified=True)


def picks_positions(gm: GraphModule) -> bool:
    """Tell whether the graph takes positions."""
    return any(node.op == "placeholder" and node.name == POSITIONS for node in gm.graph.nodes)


def picked_head(gm: GraphModule) -> tuple[Node, list[Node]]:
    """Return the picked values of a graph that picks positions, and the ops behind them, up to the output."""
    (positions,) = (node for node in gm.graph.nodes if node.op == "placeholder" and node.name == POSITIONS)
    (picked,) = positions.users
    head = [picked]
    while (user := next(iter(head[-1].users))).op != "output":
        head.append(user)
    return picked, head[1:]


def head_of(output: Node) -> list[tuple[Node, Node]]:
    """Return the ops from `output` back that treat each position alone and serve nothing else, each with its input."""
    head: list[tuple[Node, Node]] = []
    node = output
    while len(node.users) == 1:
        source = _alone(node)
        if source is None:
            break
        head.append((node, source))
        node = source
    return head


def _alone(node: Node) -> Node | None:
    """Return what a node computes each position from, if from that position alone and from weights."""
    results = results_of(node) if isinstance(node.target, OpOverload) else None
    if results is None or len(results) != 1:
        return None
    source, *others = operand_nodes(node)
    rule = applied(call_of(node, [source, *others], results))
    if rule is None or source is None or source.op == "get_attr":
        return None
    text = parse(rule.text)
    alone = all(pattern.leading and len(pattern.dims) <= 1 for pattern in (text.operands[0], text.results[0]))
    weights = all(
        other is None or (other.op == "get_attr" and (not pattern.leading or other.meta["val"].ndim <= 1))
        for other, pattern in zip(others, text.operands[1:], strict=True)
    )
    return source if alone and weights and _is_sequence(source) and _is_sequence(node) else None


def _is_sequence(node: Node) -> bool:
    """Tell whether a value is (batch, length, width)."""
    return is_tensor(node) and node.meta["val"].ndim == 3


def _outputs(gm: GraphModule) -> tuple[Node, ...]:
    """Return the outputs of a graph with exposed taps."""
    (output,) = (node for node in gm.graph.nodes if node.op == "output")
    ((values, _),) = output.args
    return values
