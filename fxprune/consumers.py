"""Consumers of a cut factor: the nodes that contract it with a weight, and how their rule lays the regression out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Graph, Node

from fxprune.axes import Axis, factors_of, resolve, size_of
from fxprune.inferred import Inferred, Line, Use
from fxprune.rules.notation import Name
from fxprune.units import IndexCache, Kept

Names = tuple[str | None, ...]  # of the dimensions of one tensor; None: of size one, and so nobody's


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A consumer that is left as it was cut, and why."""

    weight: str
    node: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Consumer:
    """One contraction of activations with a weight.

    Attributes:
        node: the call.
        weight: name of the parameter.
        x: the operand that is computed from the inputs.
        operand: the other: the parameter, or a view of it.
        bias: the parameter that is added, with its names, where it has the dimensions of the weight that are left.
        layout: names of the dimensions of x, weight and result.
        summed: names that are contracted.
        output: names of weight and result.
        shared: names of all three: a regression of its own for each index.
        free: names of x and result.
        keep: positions of each dimension of the dense result that stay; None: all.
        axes: of the free names.
    """

    node: Node
    weight: str
    x: Node
    operand: Node
    bias: tuple[Node, Names] | None
    layout: tuple[Names, Names, Names]
    summed: tuple[str, ...]
    output: tuple[str, ...]
    shared: tuple[str, ...]
    free: tuple[str, ...]
    keep: tuple[Tensor | None, ...]
    axes: dict[str, Axis]


class _RefusedError(Exception):
    """Not a consumer that can be fitted; the argument is the reason."""


def find_consumers(graph: Graph, inferred: Inferred, kept: Kept) -> tuple[list[Consumer], list[Skipped]]:
    """Return what contracts a factor that `kept` cuts, in the order of the graph, and what cannot be fitted.

    Call it while the factors have their sizes of before the cut.
    """
    index, readers, present = IndexCache(kept), _readers(graph, inferred), set(graph.nodes)
    consumers, skipped = [], []
    for use in inferred.uses:
        if use.node not in present or (found := _contraction(use, kept)) is None:
            continue
        try:
            consumers.append(_consumer(use, found, inferred, readers, index))
        except _RefusedError as refused:
            name = _name_of(found.weight.source, inferred)
            skipped.append(Skipped(weight=name, node=use.node.name, reason=str(refused)))
    return consumers, skipped


def parameter_of(node: Node) -> Node | None:
    """Return the parameter a node is, or is a reshaped form of; None for activations."""
    while node.op == "call_function" and len(node.all_input_nodes) == 1:
        (node,) = node.all_input_nodes
    return node if node.op == "get_attr" else None


def _name_of(node: Node, inferred: Inferred) -> str:
    parameter = parameter_of(node)
    assert parameter is not None
    return inferred.aliases.get(str(parameter.target), str(parameter.target))


def laid(value: Tensor, names: Names, *parts: tuple[str, ...]) -> Tensor:
    """Order the dimensions of `value` by name, with one dimension for each of `parts`.

    >>> import torch
    >>> laid(torch.zeros(2, 1, 3, 4), ("b", None, "s", "d"), (), ("s", "b"), ("d",)).shape
    torch.Size([1, 6, 4])
    """
    sizes, order = _order(value.shape, names, parts)
    moved = value.reshape([size for size, name in zip(value.shape, names, strict=True) if name]).permute(order)
    return moved.reshape([prod(sizes[name] for name in part) for part in parts])


def unlaid(value: Tensor, shape: Sequence[int], names: Names, *parts: tuple[str, ...]) -> Tensor:
    """Undo `laid`: return `value` in the given shape."""
    sizes, order = _order(shape, names, parts)
    spread = value.reshape([sizes[name] for part in parts for name in part])
    return spread.permute([order.index(place) for place in range(len(order))]).reshape(list(shape))


def _order(shape: Sequence[int], names: Names, parts: Sequence[tuple[str, ...]]) -> tuple[dict[str, int], list[int]]:
    sizes = {name: size for name, size in zip(names, shape, strict=True) if name}
    known = list(sizes)
    return sizes, [known.index(name) for part in parts for name in part]


@dataclass(frozen=True, slots=True)
class _Contraction:
    x: Line
    weight: Line
    others: list[Line]
    result: Line


def _contraction(use: Use, kept: Kept) -> _Contraction | None:
    """Return the operands of a node that sums a cut factor away over one parameter; None for all other nodes."""
    operands = [line for line in use.lines if line.source is not use.node]
    results = [line for line in use.lines if line.source is use.node]
    activations = [line for line in operands if parameter_of(line.source) is None]
    weights = [line for line in operands if parameter_of(line.source) is not None]
    if len(activations) != 1 or len(results) != 1 or not isinstance(use.node.target, OpOverload):
        return None
    x, result = activations[0], results[0]
    for weight in weights:
        both = _held(x) & _held(weight) - _held(result)
        if any(kept.touches(use.names.get(name, ())) for name in both):
            return _Contraction(x, weight, [line for line in weights if line is not weight], result)
    return None


def _consumer(use: Use, found: _Contraction, inferred: Inferred, readers: Counter[str], index: IndexCache) -> Consumer:
    weight = _name_of(found.weight.source, inferred)
    if readers[weight] != 1:
        raise _RefusedError(f"{readers[weight]} places read this weight")
    x, w, y = layout = tuple(_names(line) for line in (found.x, found.weight, found.result))
    names = [{name for name in part if name} for part in layout]
    lone = (names[0] ^ names[1] ^ names[2]) - (names[0] & names[1] & names[2])
    if lone:
        raise _RefusedError(f"{use.node.target} does more than sum products")
    summed, output = _of(w, names[0] - names[2]), _of(w, names[2] - names[0])
    shared, free = _of(w, names[0] & names[2]), _of(x, names[2] - names[1])
    return Consumer(
        node=use.node,
        weight=weight,
        x=_read_now(use.node, found.x.source),
        operand=found.weight.source,
        bias=_bias(found.others, {*output, *shared}, readers, inferred),
        layout=(x, w, y),
        summed=summed,
        output=output,
        shared=shared,
        free=free,
        keep=tuple(_positions(axis, index) for axis in found.result.axes),
        axes={name: resolve(use.names[name]) for name in free},
    )


def _read_now(node: Node, source: Node) -> Node:
    """Return the operand of activations: since the analysis, positions may have been picked from it."""
    now = [operand for operand in node.all_input_nodes if parameter_of(operand) is None]
    return source if source in now or not now else now[0]


def _names(line: Line) -> Names:
    names = []
    for pattern, axis in zip(line.dims(), line.axes, strict=True):
        if axis and not isinstance(pattern, Name):
            raise _RefusedError("its rule relates parts of a dimension")
        names.append(pattern.name if axis and isinstance(pattern, Name) else None)
    if len({name for name in names if name}) < len([name for name in names if name]):
        raise _RefusedError("it takes a diagonal")
    return tuple(names)


def _held(line: Line) -> set[str]:
    pairs = zip(line.dims(), line.axes, strict=True)
    return {pattern.name for pattern, axis in pairs if axis and isinstance(pattern, Name)}


def _of(names: Names, wanted: set[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in wanted and name is not None)


def _bias(others: list[Line], wanted: set[str], readers: Counter[str], inferred: Inferred) -> tuple[Node, Names] | None:
    """Return the parameter that is added to each output of the weight, if it serves nothing else."""
    for line in others:
        alone = line.source.op == "get_attr" and readers[_name_of(line.source, inferred)] == 1
        if alone and _held(line) == wanted:
            return line.source, _names(line)
    return None


def _positions(axis: Axis, index: IndexCache) -> Tensor | None:
    if not index.kept.touches(axis):
        return None
    if not isinstance(size_of(axis), int):
        raise _RefusedError("a cut factor is folded with a free size")
    inside = set(factors_of(axis))
    if any(factor in inside and outer not in inside for factor, outer in index.kept.under.items()):
        raise _RefusedError("what stays along one dimension depends on another")
    return index(axis)


def _readers(graph: Graph, inferred: Inferred) -> Counter[str]:
    """Count the nodes that read each parameter, under all its names; of a chain of views the one at its end counts."""
    count: Counter[str] = Counter()
    for node in graph.nodes:
        if node.op == "get_attr":
            count[inferred.aliases.get(str(node.target), str(node.target))] += _ends(node)
    return count


def _ends(node: Node) -> int:
    if node.op != "get_attr" and (len(node.all_input_nodes) != 1 or not _is_view(node)):
        return 1
    return sum(_ends(user) for user in node.users)


def _is_view(node: Node) -> bool:
    target = node.target
    return isinstance(target, OpOverload) and any(
        result.alias_info is not None and not result.alias_info.is_write for result in target._schema.returns
    )
