"""A comparison for reading: two tables for the terminal, or the same in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fxprune.deploy.latency_text import to_markdown as rows_to_markdown

if TYPE_CHECKING:
    from rich.table import Table

    from fxprune.deploy.comparison import Comparison, ModelFacts

_HEADINGS = ("model", "file MB", "opset", "nodes", "load ms", "memory MB", "outputs against the first")


def to_table(comparison: Comparison) -> Table:
    """Lay out what each model is and costs; the latencies are a table of their own."""
    from rich.table import Table

    table = Table(title="models; memory of a process that has run the largest shape", title_justify="left")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading in (_HEADINGS[0], _HEADINGS[-1]) else "right")
    for facts in comparison.models:
        table.add_row(*_cells(facts))
    return table


def to_markdown(comparison: Comparison) -> str:
    """Return both tables, and what they were measured with."""
    facts = comparison.environment
    versions = ", ".join(f"{name} {facts[name]}" for name in ("onnxruntime", "onnx", "python", "fxprune"))
    lines = [
        rows_to_markdown(comparison.rows),
        f"| {' | '.join(_HEADINGS)} |",
        f"|---|{'---:|' * (len(_HEADINGS) - 2)}---|",
        *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in _cells(one))} |" for one in comparison.models),
        "",
        f"{facts['cpu']}, {facts['cores']} cores; {versions}",
    ]
    return "\n".join(lines) + "\n"


def _cells(facts: ModelFacts) -> tuple[str, ...]:
    opset = facts.opsets.get("", next(iter(facts.opsets.values()), ""))
    memory = "" if facts.rss_mb is None else f"{facts.rss_mb:.0f}"
    load = "" if facts.load_ms is None else f"{facts.load_ms:.0f}"
    return facts.model, f"{facts.bytes / 1e6:.2f}", str(opset), str(facts.nodes), load, memory, _agreement(facts)


def _agreement(facts: ModelFacts) -> str:
    if facts.agreement is None:
        return facts.differs or "is the first"
    found = facts.agreement
    top1 = "" if found.top1 is None else f", same top-1 {found.top1:.1%}"
    return f"error {found.max_error:.1e}, cosine {found.cosine:.4f}{top1}"
