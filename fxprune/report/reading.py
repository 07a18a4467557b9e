"""What the files of an output folder say; what cannot be read of them is said too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fxprune.deploy.manifest import FORMAT, NAME
from fxprune.errors import PlanError, SourceError
from fxprune.plan import Plan
from fxprune.report.cleaning import cleaned, listed, mapping, text, whole

METRICS, LATENCY, CERTIFICATE, PLAN = "metrics.jsonl", "latency.json", "certificate.json", "plan.json"
WEIGHTS, GRAPH, ONNX = "model.safetensors", "student.pt2", "onnx/model.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Width:
    """Units of one group: of the dense model, and kept."""

    name: str
    dense: int
    kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """An output folder, read.

    Attributes:
        folder: where it is.
        facts: of ``fxprune.json``.
        widths: of the plan, in its order.
        steps: rows of the metrics, one a step, ascending.
        latency: rows.
        certificate: empty if nothing was proved.
        sizes: file -> bytes, of those that the run wrote.
        members: the snapshots of the run: name -> their facts.
        gaps: what could not be read, in words.
    """

    folder: Path
    facts: Mapping[str, Any]
    widths: tuple[Width, ...] = ()
    steps: tuple[Mapping[str, Any], ...] = ()
    latency: tuple[Mapping[str, Any], ...] = ()
    certificate: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    members: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    gaps: tuple[str, ...] = ()

    def part(self, *names: str) -> Mapping[str, Any]:
        """Return an object inside the facts; empty if it is not there."""
        found: Any = self.facts
        for name in names:
            found = mapping(found).get(name)
        return mapping(found)

    @property
    def has_model(self) -> bool:
        """Whether the folder holds a student in any form."""
        return any(name in self.sizes for name in (WEIGHTS, GRAPH, ONNX)) or bool(self.part("hugging_face"))


def read_results(folder: Path) -> Results:
    """Read an output folder.

    Raises:
        SourceError: it is none of ours, or its ``fxprune.json`` is damaged.
    """
    facts = read_facts(folder)
    gaps: list[str] = []
    names = [str(name) for name in listed(facts.get("files"))]
    return Results(
        folder=folder,
        facts=facts,
        widths=_widths(folder / PLAN, gaps),
        steps=_steps(folder / METRICS, gaps),
        latency=tuple(row for row in listed(_json(folder / LATENCY, gaps)) if isinstance(row, Mapping)),
        certificate=mapping(_json(folder / CERTIFICATE, gaps)),
        sizes={name: (folder / name).stat().st_size for name in names if _inside(folder, name)},
        members=_members(folder, facts, gaps),
        gaps=tuple(gaps),
    )


def read_facts(folder: Path) -> Mapping[str, Any]:
    """Read ``fxprune.json`` of a folder.

    Raises:
        SourceError: there is none, or it is damaged.
    """
    path = folder / NAME
    remedy = "give the --output of `fxprune distill` or `fxprune prune`"
    if not path.is_file():
        cause = f"there is no {NAME} in it" if folder.is_dir() else "there is no such folder"
        raise SourceError(f"'{folder}' is no output folder of fxprune", cause=cause, remedy=remedy)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(f"'{path}' is damaged", cause=text(error)[:200], remedy="run the job again") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise SourceError(f"'{path}' is not what fxprune writes", cause=f"its format is not {FORMAT!r}", remedy=remedy)
    facts: Mapping[str, Any] = cleaned(data)
    return facts


def _json(path: Path, gaps: list[str]) -> Any:
    if not path.is_file():
        return None
    try:
        return cleaned(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        gaps.append(f"{path.name} cannot be read: {text(error)[:200]}")
        return None


def _widths(path: Path, gaps: list[str]) -> tuple[Width, ...]:
    if not path.is_file():
        return ()
    try:
        groups = Plan.load(path).groups.values()
    except PlanError as error:
        gaps.append(f"{path.name} cannot be read: {text(error.cause or error.message)[:200]}")
        return ()
    return tuple(Width(name=text(cleaned(group.name)), dense=group.size, kept=group.count) for group in groups)


def _steps(path: Path, gaps: list[str]) -> tuple[Mapping[str, Any], ...]:
    """Return the last row of each step; damaged lines are skipped and counted."""
    rows: dict[int, Mapping[str, Any]] = {}
    damaged = 0
    if not path.is_file():
        return ()
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in filter(str.strip, lines):
            row = _row(line)
            step = None if row is None else whole(row.get("step"))
            if row is None or step is None:
                damaged += 1
            else:
                rows[step] = row
    if damaged:
        gaps.append(f"{damaged:,} damaged {'line' if damaged == 1 else 'lines'} of {path.name} left out")
    return tuple(rows[step] for step in sorted(rows))


def _row(line: str) -> Mapping[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cleaned(row) if isinstance(row, dict) else None


def _inside(folder: Path, name: str) -> bool:
    path = (folder / name).resolve()
    return path.is_relative_to(folder.resolve()) and path.is_file()


def _members(folder: Path, facts: Mapping[str, Any], gaps: list[str]) -> dict[str, Mapping[str, Any]]:
    """Read the facts of the snapshots: folders inside this one, by the last part of their path."""
    found = {}
    for listed_as in listed(facts.get("snapshots")):
        name = Path(str(listed_as)).name
        if name in ("", "..") or not (folder / name / NAME).is_file():
            continue  # moved away, or not there yet
        try:
            found[name] = read_facts(folder / name)
        except SourceError as error:
            gaps.append(f"snapshot {name}: {error.message}")
    return found
