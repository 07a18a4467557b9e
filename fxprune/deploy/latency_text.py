"""Rows of latencies for reading: a table for the terminal, and the same in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from fxprune.deploy.latency import LatencyRow

_HEADINGS = ("model", "batch x length", "threads", "p50 ms", "p90 ms", "p95 ms", "quartiles ms", "seq/s", "tokens/s")
_SPEED_UP = "speed-up"


def to_table(rows: Sequence[LatencyRow]) -> Table:
    """Lay the rows out for reading, with the speed-up over the first model and its range by quartiles."""
    from rich.table import Table

    table = Table(title=_caption(rows), title_justify="left")
    for heading in (*_HEADINGS, _SPEED_UP):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for row in rows:
        table.add_row(*_cells(row), speed_up(row, rows))
    return table


def to_markdown(rows: Sequence[LatencyRow]) -> str:
    """Return the same table in Markdown, its caption first."""
    headings = (*_HEADINGS, _SPEED_UP)
    lines = [
        f"{_caption(rows)}",
        "",
        f"| {' | '.join(headings)} |",
        f"|---|{'---:|' * (len(headings) - 1)}",
        *(f"| {' | '.join(_escaped(cell) for cell in (*_cells(row), speed_up(row, rows)))} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def speed_up(row: LatencyRow, rows: Sequence[LatencyRow]) -> str:
    """Return how many times as fast as the first model of the same shape, and the range of it by quartiles."""
    same = (row.batch, row.length, row.threads)
    base = next(other for other in rows if (other.batch, other.length, other.threads) == same)
    if row is base:
        return ""
    low, high = base.p25_ms / row.p75_ms, base.p75_ms / row.p25_ms
    return f"{base.p50_ms / row.p50_ms:.2f}x ({low:.2f}-{high:.2f})"


def _cells(row: LatencyRow) -> tuple[str, ...]:
    shape = f"{row.batch} x {row.length}" if row.length else f"{row.batch}"
    p90 = "" if row.p90_ms is None else f"{row.p90_ms:.2f}"
    times = f"{row.p50_ms:.2f}", p90, f"{row.p95_ms:.2f}", f"{row.p25_ms:.2f}-{row.p75_ms:.2f}"
    tokens = "" if row.tokens_per_second is None else f"{row.tokens_per_second:,.0f}"
    return row.model, shape, str(row.threads), *times, f"{row.sequences_per_second:.4g}", tokens


def _caption(rows: Sequence[LatencyRow]) -> str:
    return f"latency, onnxruntime {rows[0].onnxruntime} {rows[0].provider}, {rows[0].cpu}" if rows else "latency"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
