"""Axis inference: walk the graph once, apply the rule of each op, let unification find what is coupled."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch._ops import OpOverload
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves

from fxprune.axes import Axis, Concat, Factor, UnifyError, factors_of, fresh, size_of, unify
from fxprune.calls import call_of, is_item, module_of, operand_nodes, results_of, shape_of, source_of
from fxprune.rules import Applied, applied
from fxprune.rules.notation import Name, Operand, Pattern, Product, RuleText, names_of, parse, parse_pattern
from fxprune.rules.table import Shape
from fxprune.sizes import Size, divide, product

Axes = tuple[Axis, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """Why a group may not be cut, and what said so."""

    reason: str
    node: str = ""
    module: str = ""
    source: str = ""

    def __str__(self) -> str:
        where = ", ".join(part for part in (self.node, self.module) if part)
        return f"{self.reason} at {where}" if where else self.reason


@dataclass(frozen=True, slots=True)
class Literal:
    """An integer argument of `node` that must equal the size of `axis`."""

    node: Node
    argument: str
    index: int | None
    axis: Axis


@dataclass(frozen=True, slots=True)
class Line:
    """One tensor of a rule that was applied: its text, its axes, and where it comes from."""

    text: Operand
    axes: Axes
    source: Node
    result: int = 0  # which of the results of `source`

    def dims(self) -> list[Pattern]:
        """Return one pattern for each dimension."""
        leading = len(self.axes) - len(self.text.dims)
        return [*(_leading(leading - place) for place in range(leading)), *self.text.dims]


@dataclass(frozen=True, slots=True)
class Use:
    """One rule applied to one node: its operands and results, and the axes its names stand for."""

    node: Node
    lines: list[Line]
    names: dict[str, Axis]


@dataclass(slots=True)
class Inferred:
    """What the walk found: the axes of every tensor, and where sizes stand as literals."""

    axes: dict[Node, list[Axes]] = field(default_factory=dict)  # one entry a result
    tensors: dict[str, Axes] = field(default_factory=dict)  # parameters and buffers, by canonical name
    aliases: dict[str, str] = field(default_factory=dict)  # other names of tied ones -> canonical name
    literals: list[Literal] = field(default_factory=list)
    freezes: list[tuple[Axis, str, Node]] = field(default_factory=list)
    roles: list[tuple[Axis, str]] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)

    def of(self, node: Node) -> Axes:
        """Return the axes of a node with one result."""
        return self.axes[node][0]

    def freeze(self, axis: Axis, reason: str, node: Node) -> None:
        """Forbid to cut anything on `axis`."""
        if axis:
            self.freezes.append((axis, reason, node))


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
        found.axes[node] = _Application(found, node, rule, operands, shapes).run()
    except UnifyError as error:
        _untouchable(found, node, results, error.message)
        return
    if any(isinstance(value.meta.get("val"), torch.SymInt) for value in node.all_input_nodes):
        _freeze_computed(found, node, shapes)


def _freeze_computed(found: Inferred, node: Node, shapes: list[Shape]) -> None:
    """Sizes such as 4 * batch, given as values: there is no literal 4 to rewrite."""
    for axes, shape in zip(found.axes[node], shapes, strict=True):
        for axis, size in zip(axes, shape, strict=True):
            if not isinstance(size, int) and size.coefficient != 1:
                found.freeze(axis, "a symbolic size that counts it", node)


def _untouchable(found: Inferred, node: Node, results: list[torch.Tensor], reason: str) -> None:
    """An op nobody described: everything it touches stays whole."""
    if results:
        found.axes[node] = [_fresh_axes(shape_of(value)) for value in results]
    _freeze_all(found, [*node.all_input_nodes, node], reason, node)


class _Application:
    """One rule applied to one node: names are bound to axes, operand by operand."""

    def __init__(
        self, found: Inferred, node: Node, rule: Applied, operands: list[Node | None], shapes: list[Shape]
    ) -> None:
        self.found, self.node, self.rule = found, node, rule
        self.operands, self.shapes = operands, shapes
        self.text: RuleText = parse(rule.text)
        self.env: dict[str, Axis] = {}
        self.sizes: dict[str, Size] = dict(rule.sizes)

    def run(self) -> list[Axes]:
        """Unify what the rule says is equal; return the axes of the results."""
        operands = self._operand_lines()
        pairs = [pair for line in operands for pair in zip(line.dims(), line.axes, strict=True)]
        brackets = []
        for pattern, axis in pairs:
            if type(pattern) is Name:
                self._bind(pattern.name, axis)
            elif isinstance(pattern, Product) and not pattern.parts:
                continue
            else:
                brackets.append((pattern, axis))
        self._learn_sizes(brackets)
        for pattern, axis in brackets:
            self._unify(self._build(pattern), axis)
        texts = self._result_texts()
        results = [self._result(line, shape) for line, shape in zip(texts, self.shapes, strict=True)]
        self._record()
        made = [Line(text, axes, self.node, i) for i, (text, axes) in enumerate(zip(texts, results, strict=True))]
        self.found.uses.append(Use(self.node, [*operands, *made], self.env))
        return results

    def _operand_lines(self) -> list[Line]:
        """Lay the text over the operands; one without text is not related to the others."""
        texts = self.text.operands[: len(self.operands)]  # an op may leave its last optional operands out
        lines = [
            Line(text, self.found.of(source), source)
            for text, source in zip(texts, self.operands, strict=True)
            if source is not None and (text.dims or text.leading)
        ]
        for line in lines:
            if len(line.axes) != len(line.text.dims) and not line.text.leading:
                raise UnifyError(f"an operand has {len(line.axes)} dimensions, its rule names {len(line.text.dims)}")
        return lines

    def _bind(self, name: str, axis: Axis) -> None:
        known = self.env.get(name)
        if not known:
            self.env[name] = axis
        elif axis:  # an axis of size one is broadcast
            self._unify(known, axis)

    def _unify(self, left: Axis, right: Axis) -> None:
        try:
            unify(left, right)
        except UnifyError as error:
            for axis in (left, right):
                self.found.freeze(axis, error.message, self.node)

    def _learn_sizes(self, brackets: list[tuple[Pattern, Axis]]) -> None:
        """Sizes of the names inside brackets: from the results, or as what is left of a product."""
        for operand, shape in zip(self._result_texts(), self.shapes, strict=True):
            for pattern, size in zip(reversed(operand.dims), reversed(shape), strict=False):
                if type(pattern) is Name and pattern.name not in self.env:
                    self.sizes.setdefault(pattern.name, size)
        for pattern, axis in brackets:
            unknown = [name for name in names_of(pattern) if name not in self.env and name not in self.sizes]
            if isinstance(pattern, Product) and len(unknown) == 1:
                known = product([self._size(name) for name in names_of(pattern) if name != unknown[0]])
                self.sizes[unknown[0]] = divide(size_of(axis), known) or 1

    def _size(self, name: str) -> Size:
        return self.sizes[name] if name in self.sizes else size_of(self.env[name])

    def _build(self, pattern: Pattern) -> Axis:
        if isinstance(pattern, Name):
            if pattern.name not in self.env:
                self.env[pattern.name] = fresh(self.sizes[pattern.name])
            return self.env[pattern.name]
        parts = tuple(self._build(part) for part in pattern.parts)
        if isinstance(pattern, Product):
            return tuple(term for part in parts for term in part)
        return (Concat(parts),)

    def _result_texts(self) -> list[Operand]:
        """An op that returns a list has one text for all of its results, or one each."""
        texts = list(self.text.results)
        return texts if len(texts) == len(self.shapes) else texts * len(self.shapes)

    def _result(self, operand: Operand, shape: Shape) -> Axes:
        leading = len(shape) - len(operand.dims)
        axes = [self.env.get(f"...{leading - i}", ()) for i in range(leading)]
        axes += [self._build(pattern) for pattern in operand.dims]
        if leading < 0 or tuple(map(size_of, axes)) != shape:
            raise UnifyError(f"the rule {self.rule.text!r} does not predict the shape of {self.node.target}")
        return tuple(axes)

    def _record(self) -> None:
        """Keep what outlives the rule: what is frozen, which literals follow, what names mean."""
        for name in sorted(self.text.never_cut):
            self.found.freeze(self.env.get(name, ()), self.rule.reason, self.node)
        for argument, patterns in self.rule.literals.items():
            single = isinstance(patterns, str)
            for index, pattern in enumerate([patterns] if single else patterns):
                if pattern is not None:
                    axis = self._build(parse_pattern(pattern))
                    self.found.literals.append(Literal(self.node, argument, None if single else index, axis))
        for name in self.text.normalised:
            self.found.roles.append((self.env.get(name, ()), "hidden"))
        for name, role in self.rule.roles.items():
            if axis := self.env.get(name, ()):
                self.found.roles.append((axis, role))


_LEADING = [Name(f"...{i}") for i in range(64)]


def _leading(distance: int) -> Name:
    return _LEADING[distance]


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
