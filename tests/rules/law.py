"""The law a rule must obey, checked on real tensors: cut, then op == op, then cut. Shares no code with the rewriter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from fxprune.rules import Applied, Call, parameters_of
from fxprune.rules.notation import Name, Operand, Pattern, Product, names_of, parse, parse_pattern

VALUES_DIFFER = {"rand_like", "randn_like", "empty_like", "empty", "new_empty"}  # only shapes can be compared


@dataclass
class Sample:
    """One call of an op with real tensors; arguments by schema name."""

    op: OpOverload
    arguments: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, op: OpOverload, *args: Any, **kwargs: Any) -> Sample:
        """Bind positional arguments by the schema."""
        names = [name for name, _, _ in parameters_of(op)]
        return cls(op, dict(zip(names, args, strict=False)) | kwargs)

    def __str__(self) -> str:
        shown = {k: list(v.shape) if isinstance(v, Tensor) else v for k, v in self.arguments.items()}
        return f"{self.op} {shown}"

    def operands(self) -> list[Tensor | None]:
        """The tensors in schema order, lists flattened, None where absent."""
        found: list[Tensor | None] = []
        for name, takes_tensors, _ in parameters_of(self.op):
            if takes_tensors:
                value = self.arguments.get(name)
                found += value if isinstance(value, (list, tuple)) else [value]
        return [value if isinstance(value, Tensor) else None for value in found]

    def with_operands(self, operands: list[Tensor | None]) -> Sample:
        """The same call on other tensors."""
        todo, changed = iter(operands), dict(self.arguments)
        for name, takes_tensors, _ in parameters_of(self.op):
            if not takes_tensors:
                continue
            value = self.arguments.get(name)
            if isinstance(value, (list, tuple)):
                changed[name] = [next(todo) for _ in value]
            elif (tensor := next(todo)) is not None:
                changed[name] = tensor
        return Sample(self.op, changed)

    def run(self) -> list[Tensor]:
        """Call the op on copies: some work in place."""
        arguments = {name: _copied(value) for name, value in self.arguments.items()}
        keyword_only = {a.name for a in self.op._schema.arguments if a.kwarg_only}
        names = [name for name, _, _ in parameters_of(self.op) if name in arguments]
        given = [arguments[name] for name in names if name not in keyword_only]
        defaults = [name for name, _, _ in parameters_of(self.op) if name not in keyword_only]
        if names[: len(given)] != defaults[: len(given)]:  # an optional one in the middle was left out
            result = self.op(**arguments)
        else:
            result = self.op(*given, **{name: arguments[name] for name in names if name in keyword_only})
        return [result] if isinstance(result, Tensor) else list(result)

    def call(self) -> Call:
        """What the rule gets to see."""
        bound = {name: self.arguments.get(name, default) for name, _, default in parameters_of(self.op)}
        shapes = [None if tensor is None else tuple(tensor.shape) for tensor in self.operands()]
        masks = frozenset(i for i, x in enumerate(self.operands()) if x is not None and x.dtype == torch.bool)
        return Call(self.op, bound, shapes, [tuple(tensor.shape) for tensor in self.run()], masks)


def _copied(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_copied(item) for item in value]
    return value.clone() if isinstance(value, Tensor) else value


def check_law(sample: Sample, rule: Applied) -> int:
    """Cut every dimension the rule lets be cut and compare; return how many there were.

    Raises:
        AssertionError: the rule does not fit the call, or lies about it.
    """
    text, dense = parse(rule.text), sample.run()
    operands, results = sample.operands(), list(text.results)
    results = results if len(results) == len(dense) else results * len(dense)
    lines = list(text.operands[: len(operands)])
    assert len(lines) == len(operands), f"{sample}: {len(operands)} operands, but {rule.text!r}"
    sizes = _sizes(rule, [*zip(lines, operands, strict=True), *zip(results, dense, strict=True)])
    _check_fit(sample, rule, sizes, zip(lines, operands, strict=True), zip(results, dense, strict=True))
    cuttable = [name for name, size in sizes.items() if size > 1 and name not in text.never_cut]
    for name in cuttable:
        kept = _some(sizes[name])
        masks = {other: torch.ones(size, dtype=torch.bool) for other, size in sizes.items()} | {name: kept}
        pairs = list(zip(lines, operands, strict=True))
        cut = sample.with_operands([_cut(line, tensor, masks) for line, tensor in pairs])
        small = Sample(cut.op, cut.arguments | _literals(rule, sample.arguments, masks))
        got = small.run()
        expected = [_cut(line, tensor, masks) for line, tensor in zip(results, dense, strict=True)]
        if not any(name in dict(_patterns(line, tensor)) for line, tensor in zip(results, dense, strict=True)):
            expected = sample.with_operands([_zero(line, tensor, masks) for line, tensor in pairs]).run()
        for a, b in zip(got, expected, strict=True):
            where = f"{sample} by {rule.text!r}, keeping {kept.tolist()} of {name}"
            assert b is not None
            assert a.shape == b.shape, f"{where}: {list(a.shape)} instead of {list(b.shape)}"
            if name not in text.normalised and sample.op._schema.name.removeprefix("aten::") not in VALUES_DIFFER:
                assert torch.allclose(a, b, rtol=1e-9, atol=1e-9, equal_nan=True), f"{where}: values differ"
    return len(cuttable)


def _some(size: int) -> Tensor:
    """A mask that keeps some, not all, not none, and no run from the start."""
    kept = torch.rand(size) < 0.5
    kept[-1] = not kept[:-1].all()
    if not kept.any():
        kept[-1] = True
    return kept


def _dims(line: Operand, tensor: Tensor | None) -> list[Pattern]:
    """One pattern for each dimension; leading ones are named by their distance from the text."""
    if tensor is None or not (line.dims or line.leading):
        return []
    leading = tensor.ndim - len(line.dims)
    return [*(Name(f"...{leading - i}") for i in range(leading)), *line.dims]


def _patterns(line: Operand, tensor: Tensor | None) -> Iterator[tuple[str, Pattern]]:
    return ((name, pattern) for pattern in _dims(line, tensor) for name in names_of(pattern))


def _sizes(rule: Applied, pairs: list[tuple[Operand, Tensor | None]]) -> dict[str, int]:
    """Solve for the size of every name; a size of one may be broadcast."""
    sizes: dict[str, int] = {name: int(size) for name, size in rule.sizes.items()}  # type: ignore[call-overload]
    brackets: list[tuple[Pattern, int]] = []
    for line, tensor in pairs:
        for pattern, size in zip(_dims(line, tensor), tensor.shape if tensor is not None else (), strict=False):
            if isinstance(pattern, Name):
                known = sizes.get(pattern.name, 1)
                sizes[pattern.name] = size if known == 1 else known
            else:
                brackets.append((pattern, size))
    for _ in range(3):
        for pattern, size in brackets:
            unknown = [name for name in names_of(pattern) if name not in sizes]
            if len(unknown) == 1 and isinstance(pattern, Product):
                sizes[unknown[0]] = size // prod(sizes[name] for name in names_of(pattern) if name != unknown[0])
    return sizes


def _size(pattern: Pattern, sizes: Mapping[str, int]) -> int:
    if isinstance(pattern, Name):
        return sizes[pattern.name]
    parts = [_size(part, sizes) for part in pattern.parts]
    return prod(parts) if isinstance(pattern, Product) else sum(parts)


def _check_fit(sample: Sample, rule: Applied, sizes: Mapping[str, int], operands: Any, results: Any) -> None:
    for pairs, exact in ((operands, False), (results, True)):
        for line, tensor in pairs:
            if tensor is None or (not exact and not (line.dims or line.leading)):
                continue
            dims = _dims(line, tensor)
            assert len(dims) == tensor.ndim, f"{sample}: {rule.text!r} has other ranks"
            for pattern, size in zip(dims, tensor.shape, strict=True):
                fits = _size(pattern, sizes) == size or (not exact and size == 1 and isinstance(pattern, Name))
                assert fits, f"{sample}: {rule.text!r} does not fit {list(tensor.shape)}, sizes {sizes}"


def _mask(pattern: Pattern, masks: Mapping[str, Tensor]) -> Tensor:
    if isinstance(pattern, Name):
        return masks[pattern.name]
    parts = [_mask(part, masks) for part in pattern.parts]
    if not isinstance(pattern, Product):
        return torch.cat(parts)
    whole = torch.ones(1, dtype=torch.bool)
    for part in parts:
        whole = (whole[:, None] & part[None]).flatten()
    return whole


def _cut(line: Operand, tensor: Tensor | None, masks: Mapping[str, Tensor]) -> Tensor | None:
    if tensor is None:
        return None
    for dim, pattern in enumerate(_dims(line, tensor)):
        mask = _mask(pattern, masks)
        if len(mask) == tensor.shape[dim]:
            tensor = tensor.index_select(dim, mask.nonzero()[:, 0])
    return tensor


def _zero(line: Operand, tensor: Tensor | None, masks: Mapping[str, Tensor]) -> Tensor | None:
    if tensor is None:
        return None
    for dim, pattern in enumerate(_dims(line, tensor)):
        mask = _mask(pattern, masks)
        if len(mask) == tensor.shape[dim]:
            shape = [-1 if i == dim else 1 for i in range(tensor.ndim)]
            tensor = torch.where(mask.reshape(shape), tensor, torch.zeros_like(tensor))
    return tensor


def _literals(rule: Applied, arguments: Mapping[str, Any], masks: Mapping[str, Tensor]) -> dict[str, Any]:
    """The literal arguments as the rule says they follow."""
    changed: dict[str, Any] = {}
    for name, patterns in rule.literals.items():
        if isinstance(patterns, str):
            changed[name] = int(_mask(parse_pattern(patterns), masks).sum())
        else:
            given = list(arguments[name])
            for i, pattern in enumerate(patterns):
                given[i] = given[i] if pattern is None else int(_mask(parse_pattern(pattern), masks).sum())
            changed[name] = given
    return changed
