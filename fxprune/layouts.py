"""Axis types as text: how a plan writes down, without the graph, which units each tensor holds and where."""

from __future__ import annotations

from collections.abc import Mapping

from fxprune.axes import Axis, Concat, Factor, resolve
from fxprune.groups import Groups
from fxprune.rules.notation import Name, Pattern, Product, parse_pattern


def layout_of(
    groups: Groups, aliases: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Return (factor id by group name, tensors with their axis types in those ids), under all tied names."""
    ids = {group.factor: f"g{i}" for i, group in enumerate(groups)}
    tensors = {}
    for name, axes in groups.inferred.tensors.items():
        texts = tuple(_spell(axis, ids) for axis in axes)
        for alias in aliases.get(name, (name,)):
            tensors[alias] = texts
    return {group.name: ids[group.factor] for group in groups}, tensors


def _spell(axis: Axis, ids: Mapping[Factor, str]) -> str:
    words = []
    for term in resolve(axis):
        if isinstance(term, Concat):
            words.append(f"({' + '.join(_spell(part, ids) for part in term.parts)})")
        else:
            words.append(ids[term])
    return " ".join(words) or "1"


def axis_of(text: str, factors: Mapping[str, Factor]) -> Axis:
    """Read an axis type: ``g3 g4`` is a product, ``(g3 + g4)`` a concat, ``1`` a single position.

    Raises:
        RuleError: the text is malformed.
        KeyError: it names an unknown factor.
    """
    return _build(parse_pattern(text if text == "1" else f"({text})"), factors)


def _build(pattern: Pattern, factors: Mapping[str, Factor]) -> Axis:
    if isinstance(pattern, Name):
        return (factors[pattern.name],)
    parts = tuple(_build(part, factors) for part in pattern.parts)
    if isinstance(pattern, Product):
        return tuple(term for part in parts for term in part)
    return (Concat(parts),)
