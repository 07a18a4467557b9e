"""Ops the ONNX exporter has no translation for, or a broken one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.graph_signature import TensorArgument
from torch.fx import Graph, Node

from fxprune.deploy.complex_numbers import write_as_pairs
from fxprune.deploy.triangular import solve_triangular

aten = torch.ops.aten


def rewrite_ops(program: ExportedProgram) -> None:
    """Write what the exporter breaks in words it knows.

    ``c - x`` is ``-x + c``: it promotes the types of the former to a call that does not exist. Heads of queries that
    all attend to one head of keys are grouped queries: without that word it refuses what PyTorch broadcasts. Complex
    numbers become pairs. ONNX has no assertions, so what is computed for them alone is not computed. A value returned
    twice is copied: two outputs have two names.
    """
    graph = program.graph
    for node in graph.find_nodes(op="call_function", target=aten._assert_scalar.default):
        graph.erase_node(node)
    graph.eliminate_dead_code()
    write_as_pairs(graph)
    for node in list(graph.nodes):
        if node.target is aten.rsub.Scalar:
            _replace_reversed(graph, node)
        elif node.target is aten.scaled_dot_product_attention.default and _shares_keys(*node.args[:3]):
            node.kwargs = {**node.kwargs, "enable_gqa": True}
    _name_apart(program)
    program.graph_module.recompile()


def _replace_reversed(graph: Graph, node: Node) -> None:
    x, number, *alpha = node.args
    factor = -(alpha[0] if alpha else node.kwargs.get("alpha", 1))  # type: ignore[operator]
    with graph.inserting_before(node):
        negated = graph.call_function(aten.mul.Tensor, (x, factor))
        summed = graph.call_function(aten.add.Tensor, (negated, number))
    negated.meta = {**x.meta} if isinstance(x, Node) else {}
    summed.meta = {**node.meta}
    node.replace_all_uses_with(summed)
    graph.erase_node(node)


def _name_apart(program: ExportedProgram) -> None:
    output = program.graph.output_node()
    values = list(output.args[0])
    for place, value in enumerate(values):
        if isinstance(value, Node) and value in values[:place]:
            with program.graph.inserting_before(output):
                copy = program.graph.call_function(aten.clone.default, (value,))
            copy.meta = {**value.meta}
            values[place] = copy
            program.graph_signature.output_specs[place].arg = TensorArgument(name=copy.name)
    output.args = (tuple(values),)


def _shares_keys(query: Any, key: Any, value: Any) -> bool:
    """Return whether every head of the queries attends to the one head of keys and values."""
    heads = [node.meta["val"].shape[1] if node.meta["val"].ndim == 4 else None for node in (query, key, value)]
    return isinstance(heads[0], int) and heads[0] > 1 and heads[1:] == [1, 1]


def translations(program: ExportedProgram) -> Mapping[Callable[..., Any], Callable[..., Any]]:
    """Return op -> translation, for those ops of `program` that the exporter does not know.

    Some are registered by libraries, so they are found by name.
    """
    targets = {node.target for node in program.graph.nodes if isinstance(node.target, OpOverload)}
    return {target: _BY_NAME[target.name()] for target in targets if target.name() in _BY_NAME}


def _experts(rows: Any, weights: Any, ends: Any) -> Any:
    """Multiply the rows of each expert with its weights; `ends` says where they end."""
    from onnxscript import opset18

    op: Any = opset18
    ends = op.Cast(ends, to=7)  # int64
    first = op.Constant(value_ints=[0])
    start, parts = first, []
    for expert in range(weights.shape[0]):
        place = op.Constant(value_ints=[expert])
        end = op.Gather(ends, place, axis=0)
        weight = op.Squeeze(op.Gather(weights, place, axis=0), first)
        parts.append(op.MatMul(op.Slice(rows, start, end, first), weight))
        start = end
    return op.Concat(*parts, axis=0)


_BY_NAME: Mapping[str, Callable[..., Any]] = {
    "transformers::grouped_mm_fallback": _experts,
    "aten::linalg_solve_triangular": solve_triangular,
}
