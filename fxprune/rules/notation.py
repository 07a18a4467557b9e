"""The notation of op rules: einsum-like text that says what an op does to axes.

"... i, o i, o? -> ... o"            operands, separated by commas, then results
"a (x + y), b -> a x, a y"           a product of names, or a concat of them, in brackets

...   any leading dimensions, broadcast against each other
1     a dimension of size one
o?    the operand may be absent
v!    never cut: the op treats its positions as different, or picks them by data
d~    normalised over d: the values move when d is cut, the meaning does not
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from fxprune.errors import RuleError


@dataclass(frozen=True, slots=True)
class Name:
    """A dimension called `name`; equal names are the same dimension."""

    name: str


@dataclass(frozen=True, slots=True)
class Product:
    """Dimensions multiplied row-major into one; the empty product is a size of one."""

    parts: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Sum:
    """Dimensions laid end to end."""

    parts: tuple[Pattern, ...]


Pattern: TypeAlias = Name | Product | Sum


@dataclass(frozen=True, slots=True)
class Operand:
    """The dimensions of one tensor; `leading` where the text has an ellipsis in front."""

    dims: tuple[Pattern, ...]
    leading: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class RuleText:
    """A parsed rule: operands, results, and the names that carry a flag."""

    operands: tuple[Operand, ...]
    results: tuple[Operand, ...]
    never_cut: frozenset[str]
    normalised: frozenset[str]


_TOKEN = re.compile(r"\s*(\.\.\.|[A-Za-z_][A-Za-z0-9_]*|1|[()+!~?])")


@cache
def parse(text: str) -> RuleText:
    """Parse one rule.

    Raises:
        RuleError: the text is malformed; the message says where.

    >>> parse("... i, o i, o? -> ... o").operands[2].optional
    True
    """
    left, arrow, right = text.partition("->")
    if not arrow:
        raise RuleError(f"rule {text!r} has no arrow", remedy="write it as 'operands -> results'")
    flags: dict[str, set[str]] = {"!": set(), "~": set()}
    operands = tuple(_operand(part, flags, text) for part in _operands(left))
    results = tuple(_operand(part, flags, text) for part in _operands(right) or [""])
    return RuleText(operands, results, frozenset(flags["!"]), frozenset(flags["~"]))


@cache
def parse_pattern(text: str) -> Pattern:
    """Parse one dimension, such as ``d``, ``(h e)`` or ``(before + x)``."""
    (dim,) = _operand(text, {"!": set(), "~": set()}, text).dims
    return dim


def names_of(pattern: Pattern) -> list[str]:
    """Return the names in `pattern`, in order."""
    if isinstance(pattern, Name):
        return [pattern.name]
    return [name for part in pattern.parts for name in names_of(part)]


def _operands(side: str) -> list[str]:
    return side.split(",") if side.strip() else []


def _operand(text: str, flags: dict[str, set[str]], whole: str) -> Operand:
    tokens = _tokens(text, whole)
    tokens.reverse()
    leading = bool(tokens) and tokens[-1] == "..."
    if leading:
        tokens.pop()
    optional = "?" in tokens
    tokens = [token for token in tokens if token != "?"]
    dims: list[Pattern] = []
    while tokens:
        dims.append(_dim(tokens, flags, whole))
    return Operand(tuple(dims), leading, optional)


def _tokens(text: str, whole: str) -> list[str]:
    tokens, position = [], 0
    stripped = text.rstrip()
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if match is None:
            raise RuleError(f"rule {whole!r} is malformed at {stripped[position:]!r}")
        tokens.append(match.group(1))
        position = match.end()
    return tokens


def _dim(tokens: list[str], flags: dict[str, set[str]], whole: str) -> Pattern:
    token = tokens.pop()
    if token == "(":
        return _group(tokens, flags, whole)
    if token == "1":
        return Product(())
    if not token[0].isalpha() and token[0] != "_":
        raise RuleError(f"rule {whole!r} is malformed at {token!r}")
    while tokens and tokens[-1] in flags:
        flags[tokens.pop()].add(token)
    return Name(token)


def _group(tokens: list[str], flags: dict[str, set[str]], whole: str) -> Pattern:
    sums: list[list[Pattern]] = [[]]
    while tokens and tokens[-1] != ")":
        if tokens[-1] == "+":
            tokens.pop()
            sums.append([])
        else:
            sums[-1].append(_dim(tokens, flags, whole))
    if not tokens:
        raise RuleError(f"rule {whole!r} has an open bracket")
    tokens.pop()
    products = [part[0] if len(part) == 1 else Product(tuple(part)) for part in sums]
    return products[0] if len(products) == 1 else Sum(tuple(products))
