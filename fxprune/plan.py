"""Plans: which units of each group stay. Plain data: dense weights + plan = slim weights, without the graph."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fxprune.atomic import atomic_write
from fxprune.axes import Axis, Concat, Factor, resolve
from fxprune.errors import PlanError
from fxprune.groups import Groups
from fxprune.rules.notation import Name, Pattern, Product, parse_pattern
from fxprune.units import IndexCache, Kept, take

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What stays of one group.

    Attributes:
        name: of the group.
        size: number of units of the dense model.
        keep: kept units, ascending; for a ragged group one list for each kept unit of `under`.
        under: id of the outer group, if ragged.
    """

    name: str
    size: int
    keep: tuple[int, ...] | tuple[tuple[int, ...], ...]
    under: str | None = None

    @property
    def count(self) -> int:
        """Number of kept units (for each outer unit, if ragged)."""
        first = self.keep[0] if self.keep else 0
        return len(first) if isinstance(first, tuple) else len(self.keep)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The kept units of every cut group of one model.

    Attributes:
        model: fingerprint of the dense parameters' names and shapes.
        groups: id -> what stays.
        tensors: parameter or buffer -> its axis types, written with group ids: ``("g3 g4", "g0")``.
    """

    model: str
    groups: Mapping[str, Entry]
    tensors: Mapping[str, tuple[str, ...]]

    def sizes(self) -> dict[str, int]:
        """Return group name -> number of kept units."""
        return {entry.name: entry.count for entry in self.groups.values()}

    def apply(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Slice dense weights: the result is the state of the slim model.

        Raises:
            PlanError: `state` is not of the model the plan was made for.
        """
        self.check(state)
        factors, kept = self._kept()
        index = IndexCache(kept)
        known = {name: tuple(_axis(text, factors) for text in texts) for name, texts in self.tensors.items()}
        return {name: take(tensor, known[name], index) if name in known else tensor for name, tensor in state.items()}

    def implant(self, dense: Mapping[str, Tensor], slim: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Put trained slim weights back into the dense places they were cut from: the inverse of `apply`.

        Args:
            dense: state of the dense model; removed units keep its values.
            slim: state of the slim model.
        """
        factors, kept = self._kept()
        index = IndexCache(kept)
        merged = {}
        for name, tensor in dense.items():
            axes = [_axis(text, factors) for text in self.tensors.get(name, ())]
            places = [index(axis) for axis in axes]
            whole = [torch.arange(n) if p is None else p for p, n in zip(places, tensor.shape, strict=False)]
            merged[name] = tensor.clone()
            if name in slim:
                merged[name][torch.meshgrid(*whole, indexing="ij") if whole else ...] = slim[name]
        return merged

    def check(self, state: Mapping[str, Tensor]) -> None:
        """Raise PlanError unless `state` has the names and shapes the plan was made for."""
        expected, given = self.model, fingerprint(state)
        if expected != given:
            wrong = [name for name in self.tensors if name not in state]
            cause = f"it has no parameter {wrong[0]!r}" if wrong else "its parameters have other names or shapes"
            raise PlanError(
                "the plan belongs to another model",
                cause=f"{cause} (fingerprint {given}, the plan has {expected})",
                remedy="apply a plan to the dense model it was made from",
            )

    def _kept(self) -> tuple[dict[str, Factor], Kept]:
        factors = {key: Factor(entry.size) for key, entry in self.groups.items()}
        kept = Kept()
        for key, entry in self.groups.items():
            if entry.under is not None:
                kept.under[factors[key]] = factors[entry.under]
            if entry.count < entry.size:
                outer = self.groups[entry.under] if entry.under is not None else None
                kept.units[factors[key]] = _mask(entry, outer)
            elif len(entry.keep) < entry.size and entry.under is None:
                kept.units[factors[key]] = _mask(entry, None)
        return factors, kept

    def to_json(self) -> str:
        """Return the plan as text that `from_json` reads back, equal in every field."""
        groups = {
            key: {"name": e.name, "size": e.size, "keep": e.keep, **({"under": e.under} if e.under else {})}
            for key, e in self.groups.items()
        }
        data = {
            "format": "fxprune plan",
            "version": VERSION,
            "model": self.model,
            "groups": groups,
            "tensors": self.tensors,
        }
        return json.dumps(data, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read a plan.

        Raises:
            PlanError: the text is no plan, or one of a newer version.
        """
        try:
            data = json.loads(text)
            if data["format"] != "fxprune plan" or data["version"] != VERSION:
                raise PlanError(
                    f"plan version {data['version']!r} is unknown", remedy=f"this fxprune reads version {VERSION}"
                )
            return cls(
                model=str(data["model"]),
                groups={str(key): _entry(value) for key, value in data["groups"].items()},
                tensors={str(name): tuple(map(str, texts)) for name, texts in data["tensors"].items()},
            )
        except PlanError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PlanError(
                "the text is no plan", cause=f"{type(error).__name__}: {error}", remedy="pass a plan.json"
            ) from error

    def save(self, path: Path | str) -> None:
        """Write the plan as JSON, atomically."""
        atomic_write(Path(path), self.to_json())

    @classmethod
    def load(cls, path: Path | str) -> Plan:
        """Read a plan file.

        Raises:
            PlanError: no such file, or not a plan.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(
                f"cannot read plan {str(path)!r}", cause=error, remedy="pass the plan.json of a run"
            ) from error
        return cls.from_json(text)


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """Hash the names and shapes of a state dict."""
    lines = sorted(f"{name}:{tuple(tensor.shape)}" for name, tensor in state.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


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
            words.append(f"({' + '.join(_bracketed(_spell(part, ids)) for part in term.parts)})")
        else:
            words.append(ids[term])
    return " ".join(words) or "1"


def _bracketed(text: str) -> str:
    return f"({text})" if " " in text and not text.startswith("(") else text


def _axis(text: str, factors: Mapping[str, Factor]) -> Axis:
    pattern = parse_pattern(f"({text})" if text != "1" else text)
    return _build(pattern, factors)


def _build(pattern: Pattern, factors: Mapping[str, Factor]) -> Axis:
    if isinstance(pattern, Name):
        return (factors[pattern.name],)
    parts = tuple(_build(part, factors) for part in pattern.parts)
    if isinstance(pattern, Product):
        return tuple(term for part in parts for term in part)
    return (Concat(parts),)


def _mask(entry: Entry, outer: Entry | None) -> Tensor:
    if outer is None:
        return mask_of([unit for unit in entry.keep if isinstance(unit, int)], entry.size)
    mask = torch.zeros(outer.size, entry.size, dtype=torch.bool)
    for row, units in zip(outer.keep, entry.keep, strict=True):
        mask[row] = mask_of(units, entry.size)  # type: ignore[arg-type,index]
    return mask


def mask_of(units: Iterable[int], size: int) -> Tensor:
    """Return a bool mask of `size` with `units` set."""
    mask = torch.zeros(size, dtype=torch.bool)
    mask[list(units)] = True
    return mask


def _entry(data: Mapping[str, Any]) -> Entry:
    keep = data["keep"]
    size = int(data["size"])
    rows = keep if keep and isinstance(keep[0], list) else [keep]
    for row in rows:
        if any(not isinstance(unit, int) or not 0 <= unit < size for unit in row) or sorted(set(row)) != row:
            raise PlanError(f"group {data['name']!r} keeps units that are not ascending numbers below {size}")
    ragged = rows is keep
    return Entry(
        name=str(data["name"]),
        size=size,
        keep=tuple(tuple(row) for row in keep) if ragged else tuple(keep),
        under=data.get("under"),
    )
