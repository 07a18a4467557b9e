"""Plans: which units of each group stay. Plain data: dense weights + plan = slim weights, without the graph."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fxprune.atomic import atomic_write
from fxprune.axes import Axis, Factor
from fxprune.entries import Entry, entries_from, mask_of, mask_of_entry
from fxprune.errors import PlanError, RuleError
from fxprune.layouts import axis_of, layout_of
from fxprune.units import IndexCache, Kept, take

__all__ = ["Entry", "Plan", "fingerprint", "layout_of", "mask_of"]

VERSION = 1


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

    @property
    def digest(self) -> str:
        """Hash of all of it: equal for equal plans alone."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def apply(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Slice dense weights: the result is the state of the slim model.

        Raises:
            PlanError: `state` is not of the model the plan was made for.
        """
        self.check(state)
        axes, index = self._layout()
        return {name: take(tensor, axes[name], index) if name in axes else tensor for name, tensor in state.items()}

    def implant(self, dense: Mapping[str, Tensor], slim: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Put trained slim weights back into the dense places they were cut from: the inverse of `apply`.

        Args:
            dense: state of the dense model; removed units keep its values.
            slim: state of the slim model.
        """
        axes, index = self._layout()
        merged = {}
        for name, tensor in dense.items():
            places = [index(axis) for axis in axes.get(name, ())]
            whole = [torch.arange(n) if p is None else p for p, n in zip(places, tensor.shape, strict=False)]
            merged[name] = tensor.clone()
            if name in slim:
                merged[name][torch.meshgrid(*whole, indexing="ij") if whole else ...] = slim[name]
        return merged

    def check(self, state: Mapping[str, Tensor]) -> None:
        """Raise PlanError unless `state` has the names and shapes the plan was made for."""
        expected, given = self.model, fingerprint(state)
        if expected != given:
            foreign = [name for name in state if name not in self.tensors]
            cause = f"the plan knows no {foreign[0]!r}" if foreign else "parameters are missing or have other shapes"
            raise PlanError(
                "the plan belongs to another model",
                cause=f"{cause} (fingerprint {given}, the plan has {expected})",
                remedy="apply a plan to the dense model it was made from",
            )

    def _layout(self) -> tuple[dict[str, tuple[Axis, ...]], IndexCache]:
        """Return the axis types of all tensors and the positions of each that stay."""
        factors = {key: Factor(entry.size) for key, entry in self.groups.items()}
        kept = Kept()
        for key, entry in self.groups.items():
            if entry.under is not None:
                kept.under[factors[key]] = factors[entry.under]
            if entry.count < entry.size:
                outer = self.groups[entry.under] if entry.under is not None else None
                kept.units[factors[key]] = mask_of_entry(entry, outer)
        axes = {name: tuple(axis_of(text, factors) for text in texts) for name, texts in self.tensors.items()}
        return axes, IndexCache(kept)

    def to_json(self) -> str:
        """Return the plan as text that `from_json` reads back, equal in every field."""
        data = {
            "format": "fxprune plan",
            "version": VERSION,
            "model": self.model,
            "groups": {key: entry.to_data() for key, entry in self.groups.items()},
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
            if data["format"] != "fxprune plan":
                raise ValueError(f"its format is {data['format']!r}")
            if data["version"] != VERSION:
                raise PlanError(
                    f"plan version {data['version']!r} is unknown", remedy=f"this fxprune reads version {VERSION}"
                )
            plan = cls(
                model=str(data["model"]),
                groups=entries_from(data["groups"]),
                tensors={str(name): tuple(map(str, texts)) for name, texts in data["tensors"].items()},
            )
            plan._layout()
        except PlanError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, RuleError) as error:
            raise PlanError(
                "the text is no plan", cause=f"{type(error).__name__}: {str(error)[:200]}", remedy="pass a plan.json"
            ) from error
        return plan

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
