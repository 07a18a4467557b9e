"""Axis inference: walk the graph once, apply the rule of each op, let unification find what is coupled."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch._ops import OpOverload
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves

from fxprune.application import Application
from fxprune.attention import name_attention
from fxprune.axes import Factor, UnifyError, factors_of, fresh
from fxprune.calls import bound_arguments, call_of, is_item, module_of, operand_nodes, results_of, shape_of, source_of
from fxprune.inferred import Axes, Frozen, Inferred, Line, Literal, Use
from fxprune.rules import applied
from fxprune.rules.table import Shape

__all__ = ["Axes", "Frozen", "Inferred", "Line", "Literal", "Use", "frozen_factors", "infer", "output_values"]


def infer(gm: GraphModule, *, free_outputs: bool | Collection[int] = False) -> Inferred:
    """Infer the axes of every tensor in `gm`.

    Args:
        gm: a captured graph; every tensor node carries its traced value in ``meta["val"]``.
        free_outputs: which outputs may be cut, by their place among the tensors of the output: an encoder's hidden
            state, for example, but not logits. True frees all.
    """
    found = Inferred(aliases=_aliases(gm))
    for node in gm.graph.nodes:
        if node.op == "output":
            fixed = [value for place, value in enumerate(output_values(gm)) if not _is_free(place, free_outputs)]
            _freeze_all(found, fixed, "model output", node)
        elif node.op == "get_attr":
            _read_tensor(found, node)
        elif node.op == "placeholder":
            if isinstance(node.meta.get("val"), torch.Tensor):
                found.axes[node] = [_fresh_axes(shape_of(node.meta["val"]))]
                _freeze_all(found, [node], "model input", node)
        elif is_item(node) and node.args[0] in found.axes:
            found.axes[node] = [found.axes[node.args[0]][node.args[1]]]
        else:
            _visit(found, node)
    name_attention(gm, found)
    return found


def _aliases(gm: GraphModule) -> dict[str, str]:
    ties = gm.meta["provenance"].aliases if "provenance" in gm.meta else {}
    return {alias: canonical for canonical, names in ties.items() for alias in names if alias != canonical}


def output_values(gm: GraphModule) -> list[Node]:
    """Return the nodes whose values the model returns, in order."""
    (output,) = (node for node in gm.graph.nodes if node.op == "output")
    return [value for value in tree_leaves(output.args) if isinstance(value, Node)]


def _is_free(place: int, free_outputs: bool | Collection[int]) -> bool:
    return free_outputs if isinstance(free_outputs, bool) else place in free_outputs


def _fresh_axes(shape: Shape) -> Axes:
    return tuple(fresh(size) for size in shape)


def _read_tensor(found: Inferred, node: Node) -> None:
    value = node.meta.get("val")
    if isinstance(value, torch.Tensor):
        name = str(node.target)
        if name not in found.tensors:
            found.tensors[name] = _fresh_axes(shape_of(value))
        found.axes[node] = [found.tensors[name]]


def _freeze_all(found: Inferred, nodes: list[Node], reason: str, at: Node) -> None:
    for node in nodes:
        for axes in found.axes.get(node, []):
            for axis in axes:
                found.freeze(axis, reason, at)


def _visit(found: Inferred, node: Node) -> None:
    results = results_of(node)
    if node.target is torch.ops.aten.sym_size.int:
        _read_size(found, node)
    elif node.target is torch.ops.aten.sym_storage_offset.default:
        pass  # only assertions ask for it, and as_strided, which has no rule
    elif results is None or not isinstance(node.target, OpOverload):
        _untouchable(found, node, results or [], f"no rule for {node.target}")
    else:
        _apply_rule(found, node, node.target, results)


def _read_size(found: Inferred, node: Node) -> None:
    """A size that is computed with, such as 4 * batch: the 4 stands in no literal, so it may not change."""
    tensor, dim = node.args
    assert isinstance(tensor, Node)
    assert isinstance(dim, int)
    if tensor in found.axes:
        found.freeze(found.of(tensor)[dim], "its size is computed with", node)


def _apply_rule(found: Inferred, node: Node, op: OpOverload, results: list[torch.Tensor]) -> None:
    operands = operand_nodes(node)
    rule = applied(call_of(node, operands, results))
    if rule is None:
        _untouchable(found, node, results, f"no rule for {op}")
        return
    shapes = [shape_of(value) for value in results]
    try:
        found.axes[node] = Application(found, node, rule, operands, shapes).run()
    except UnifyError as error:
        _untouchable(found, node, results, error.message)
        return
    if any(isinstance(value.meta.get("val"), torch.SymInt) for value in node.all_input_nodes):
        _freeze_computed(found, node, shapes)


def _freeze_computed(found: Inferred, node: Node, shapes: list[Shape]) -> None:
    """Sizes such as 4 * batch, given as values: there is no literal 4 to rewrite. One given as -1 follows by itself."""
    arguments = bound_arguments(node)
    given = next((arguments[name] for name in ("size", "shape") if name in arguments), ())
    for axes, shape in zip(found.axes[node], shapes, strict=True):
        for place, (axis, size) in enumerate(zip(axes, shape, strict=True)):
            follows = place < len(given) and given[place] == -1
            if not isinstance(size, int) and size.coefficient != 1 and not follows:
                found.freeze(axis, "a symbolic size that counts it", node)


def _untouchable(found: Inferred, node: Node, results: list[torch.Tensor], reason: str) -> None:
    """An op nobody described: everything it touches stays whole."""
    if results:
        found.axes[node] = [_fresh_axes(shape_of(value)) for value in results]
    _freeze_all(found, [*node.all_input_nodes, node], reason, node)


def frozen_factors(found: Inferred) -> dict[Factor, Frozen]:
    """Return the frozen factors, each with the first reason."""
    first: dict[Factor, tuple[str, Node]] = {}
    for axis, reason, node in found.freezes:
        for factor in factors_of(axis):
            if type(factor.size) is int:
                first.setdefault(factor, (reason, node))
    return {factor: _frozen(*why) for factor, why in first.items()}


def _frozen(reason: str, node: Node) -> Frozen:
    return Frozen(reason=reason, node=node.name, module=module_of(node), source=source_of(node))
