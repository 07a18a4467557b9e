"""Reading a graph node as a `Call`: its tensors as shapes, its arguments by name."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch._ops import OpOverload
from torch.fx import Node

from fxprune.rules import Call, parameters_of
from fxprune.rules.table import Shape
from fxprune.sizes import size_from


def shape_of(value: object) -> Shape:
    """Return the traced shape of a tensor, with symbolic sizes."""
    assert isinstance(value, torch.Tensor)
    return tuple(size if type(size) is int else size_from(size) for size in value.shape)


def is_tensor(node: object) -> bool:
    """Tell whether `node` stands for one tensor."""
    return isinstance(node, Node) and isinstance(node.meta.get("val"), torch.Tensor)


def results_of(node: Node) -> list[torch.Tensor] | None:
    """Return the traced result tensors of `node`; None when it yields none (a size, an assertion)."""
    value = node.meta.get("val")
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, torch.Tensor) for item in value):
        return list(value)
    return None


def bound_arguments(node: Node) -> dict[str, Any]:
    """Return the arguments of a call by schema name, defaults filled in."""
    assert isinstance(node.target, OpOverload)
    bound: dict[str, Any] = {}
    for position, (name, _, default) in enumerate(parameters_of(node.target)):
        bound[name] = node.args[position] if position < len(node.args) else node.kwargs.get(name, default)
    return bound


def argument_position(node: Node, name: str) -> int:
    """Return the place of an argument in the schema of the op."""
    assert isinstance(node.target, OpOverload)
    return next(place for place, (known, _, _) in enumerate(parameters_of(node.target)) if known == name)


def operand_nodes(node: Node) -> list[Node | None]:
    """Return the tensor operands in schema order, lists flattened, None where an optional one is absent."""
    assert isinstance(node.target, OpOverload)
    operands: list[Node | None] = []
    for position, (name, takes_tensors, _) in enumerate(parameters_of(node.target)):
        if not takes_tensors:
            continue
        value = node.args[position] if position < len(node.args) else node.kwargs.get(name)
        items = value if isinstance(value, (list, tuple)) else [value]
        operands.extend(
            item if isinstance(item, Node) and is_tensor(item) else None for item in items
        )  # a number may stand for a tensor
    return operands


def call_of(node: Node, operands: list[Node | None], results: list[torch.Tensor]) -> Call:
    """Return `node` with every tensor replaced by its shape."""
    assert isinstance(node.target, OpOverload)
    values = [None if operand is None else operand.meta["val"] for operand in operands]
    shapes = [None if value is None else shape_of(value) for value in values]
    return Call(node.target, bound_arguments(node), shapes, [shape_of(value) for value in results], masks_in(values))


def masks_in(values: list[torch.Tensor | None]) -> frozenset[int]:
    """Return the places of boolean tensors."""
    return frozenset(i for i, value in enumerate(values) if value is not None and value.dtype == torch.bool)


def module_of(node: Node) -> str:
    """Return the path of the module that owns `node`, e.g. ``encoder.layer.3.attention``."""
    stack = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""


_MODULES = str(Path(torch.nn.__file__).parent)


def source_of(node: Node) -> str:
    """Return the line of model code that made `node`: ``file.py:175  query(x).view(...)``."""
    lines = [line.strip() for line in (node.meta.get("stack_trace") or "").splitlines()]
    where = [i for i, line in enumerate(lines) if line.startswith("File ") and _MODULES not in line]
    if not where:
        return ""
    _, path, rest = lines[where[-1]].split('"', 2)
    number = rest.removeprefix(", line ").partition(",")[0]
    code = lines[where[-1] + 1] if where[-1] + 1 < len(lines) else ""
    return f"{path.rpartition('/')[2]}:{number}  {code}"


def is_item(node: Node) -> bool:
    """Tell whether `node` takes one result of an op with several."""
    return node.target is operator.getitem and isinstance(node.args[0], Node)


def parameter_nodes(graph: torch.fx.Graph) -> Iterator[Node]:
    """Yield the nodes that read a parameter or buffer."""
    return (node for node in graph.nodes if node.op == "get_attr" and is_tensor(node))
