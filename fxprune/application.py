"""Applying one rule to one node: its names are bound to axes, and axes of one name are unified."""

from __future__ import annotations

from torch.fx import Node

from fxprune.axes import Axis, Concat, UnifyError, fresh, size_of, unify
from fxprune.inferred import Axes, Inferred, Line, Literal, Use
from fxprune.rules import Applied
from fxprune.rules.notation import Name, Operand, Pattern, Product, RuleText, names_of, parse, parse_pattern
from fxprune.rules.table import Shape
from fxprune.sizes import Size, divide, product


class Application:
    """One rule applied to one node: names are bound to axes, operand by operand.

    Args:
        found: what is known of the graph so far; it learns.
        node: the call.
        rule: what the call does to axes.
        operands: the tensors in schema order, None where absent.
        shapes: of the results.
    """

    def __init__(
        self, found: Inferred, node: Node, rule: Applied, operands: list[Node | None], shapes: list[Shape]
    ) -> None:
        self.found, self.node, self.rule = found, node, rule
        self.operands, self.shapes = operands, shapes
        self.text: RuleText = parse(rule.text)
        self.env: dict[str, Axis] = {}
        self.sizes: dict[str, Size] = dict(rule.sizes)

    def run(self) -> list[Axes]:
        """Unify what the rule says is equal; return the axes of the results.

        Raises:
            UnifyError: the rule does not fit the call.
        """
        operands = self._operand_lines()
        pairs = [pair for line in operands for pair in zip(line.dims(), line.axes, strict=True)]
        brackets = []
        for pattern, axis in pairs:
            if type(pattern) is Name:
                self._bind(pattern.name, axis)
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
        if len(self.text.operands) < len(self.operands):
            raise UnifyError(f"the rule {self.rule.text!r} names too few operands of {self.node.target}")
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
        """Axes of one size that have no common layout stay whole; other sizes are a wrong rule."""
        if size_of(left) != size_of(right):
            raise UnifyError(f"the rule {self.rule.text!r} does not fit the operands of {self.node.target}")
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
        of_weights = all(source is None or source.op == "get_attr" for source in self.operands)
        for name in () if of_weights else self.text.normalised:  # a normalised weight is no stream of features
            self.found.roles.append((self.env.get(name, ()), "hidden"))
        for name, role in self.rule.roles.items():
            if axis := self.env.get(name, ()):
                self.found.roles.append((axis, role))
