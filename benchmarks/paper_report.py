"""The report of the paper benchmark: tables in Markdown, and held-out discrepancy over steps as a picture."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from common import Machine, markdown_table
from paper_arms import ARMS, PATH, START

Record = Mapping[str, Any]
DISCREPANCY = {"minilm": "hidden", "demo": "kl"}
ORDER = [arm.name for arm in ARMS]


def report(records: Sequence[Record], cost: Sequence[Record], machine: Machine, folder: Path) -> str:
    """Return all tables as Markdown; the picture goes to `folder`."""
    students = sorted((r for r in records if "arm" in r), key=lambda r: (_label(r), ORDER.index(r["arm"]), r["seed"]))
    teachers = {r["teacher"]: r["tasks"] for r in records if "teacher" in r}
    parts = [f"# The paper's questions\n\n{machine}\n"]
    for label, rows in groupby(students, _label):
        found = list(rows)
        parts.append(_training(label, found))
        if any("tasks" in row for row in found):
            parts.append(_tasks(label, found, teachers.get(found[0]["setting"]["model"], {})))
    if cost:
        parts.append(_cost(cost))
    _draw(students, folder / "discrepancy.svg")
    return "\n".join(parts)


def _label(record: Record) -> str:
    setting = record["setting"]
    return f"{setting['model']}, {setting['target']:,} parameters, {setting['steps']} steps"


def _arms(rows: Iterable[Record]) -> dict[str, list[Record]]:
    return {name: list(found) for name, found in groupby(rows, lambda row: row["arm"])}


def _training(label: str, rows: Sequence[Record]) -> str:
    term = DISCREPANCY[rows[0]["setting"]["model"]]
    last = "STS-B Spearman" if "similarity" in rows[0] else "masked-LM loss"
    lines = [["arm", "parameters", f"held-out {term}", last, "training loss", "largest jump", "seconds", "seeds"]]
    for name, found in _arms(rows).items():
        lines.append(
            [
                name,
                f"{found[0]['params']:,}",
                _spread([row["held_out"]["student"][term] for row in found if term in row["held_out"]["student"]]),
                _spread(
                    [row["similarity"] if "similarity" in row else row["held_out"]["student"]["task"] for row in found]
                ),
                _spread([row["final"]["total"] for row in found]),
                _spread([jump for row in found if (jump := _jump(row, term)) is not None]),
                f"{statistics.median(row['seconds'] for row in found):.0f}",
                str(len(found)),
            ]
        )
    return f"## {label}\n\n{markdown_table(lines)}"


def _jump(row: Record, term: str) -> float | None:
    """Return the largest rise of the discrepancy between two readings; None where it was not measured."""
    values = [point[term] for point in row["curve"] if term in point]
    return max([0.0, *(b - a for a, b in pairwise(values))]) if values else None


def _tasks(label: str, rows: Sequence[Record], teacher: Mapping[str, Any]) -> str:
    scored = {name: [row for row in found if "tasks" in row] for name, found in _arms(rows).items()}
    tasks = list(next(found[0]["tasks"] for found in scored.values() if found))
    lines = [["arm", *tasks, "mean"]]
    if teacher:
        lines.append(_scores("teacher", [{"tasks": teacher}], tasks))
    lines += [_scores(name, found, tasks) for name, found in scored.items() if found]
    return f"### Fine-tuned: {label}\n\n{markdown_table(lines)}"


def _scores(name: str, rows: Sequence[Record], tasks: Sequence[str]) -> list[str]:
    """Return the median over all seeds of each task, their range, and the mean of the medians."""
    values = {task: [100 * value for row in rows for value in row["tasks"][task]["headline"]] for task in tasks}
    mean = statistics.fmean(statistics.median(found) for found in values.values())
    return [name, *(_spread(found, 1) for found in values.values()), f"{mean:.1f}"]


def _cost(rows: Sequence[Record]) -> str:
    lines = [["run", "rewritten s", "masked s", "rewritten / masked"]]
    lines += [[r["setting"], f"{r['rewritten']:.1f}", f"{r['masked']:.1f}", f"{r['ratio']:.2f}"] for r in rows]
    return f"## Rewritten beside masked, steps in turn\n\n{markdown_table(lines)}"


def _spread(values: Sequence[float], digits: int = 3) -> str:
    """Return the median, and the range where there are several; an arm without a term does not measure it.

    >>> _spread([1.0, 3.0, 2.0], 1), _spread([1.0]), _spread([])
    ('2.0 (1.0-3.0)', '1.000', 'not measured')
    """
    if not values:
        return "not measured"
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def _draw(students: Sequence[Record], path: Path) -> None:
    """Draw held-out discrepancy over steps, one panel a setting, rewrites as ticks of the homotopic run."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    panels = {label: list(rows) for label, rows in groupby(students, _label)}
    if not panels:
        return
    figure, axes = pyplot.subplots(1, len(panels), figsize=(5 * len(panels), 4), squeeze=False)
    for axis, (label, rows) in zip(axes[0], panels.items(), strict=True):
        term = DISCREPANCY[rows[0]["setting"]["model"]]
        for row in rows:
            if row["question"] in (PATH, START) and row["seed"] == 0:
                axis.plot([p["step"] for p in row["curve"]], [p[term] for p in row["curve"]], label=row["arm"])
            if row["arm"] == "homotopic" and row["seed"] == 0:
                axis.plot(row["cuts"], [0] * len(row["cuts"]), "|", color="grey")
        axis.set(title=label, xlabel="step", ylabel=f"held-out {term}", yscale="symlog")
        axis.legend(fontsize="small")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)
