"""The coverage table for readers: one row an architecture, the sentences of what failed, and totals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

EXACT = 1e-5  # float32, relative to the largest output
TARGETS = {"equal": 62, "widths": 58, "onnx": 60, "reload": 58}  # of 64
STAGES = ("process", "capture", "proofs", "onnx", "reload")
Row = dict[str, Any]


def is_captured(row: Row) -> bool:
    """Whether the graph computes what the model does."""
    return row.get("parity", 1.0) <= EXACT


def is_equal(row: Row) -> bool:
    """Whether all three proofs hold: shuffled units, mask = slice, structure."""
    errors = (row.get("permutation"), row.get("masked"))
    return is_captured(row) and all(e is not None and e <= EXACT for e in errors) and not row.get("faults")


def is_wrong(row: Row) -> bool:
    """Whether it yields a model that computes something else, and does not say so."""
    return "masked" in row and not is_equal(row)


def is_narrowed(row: Row) -> bool:
    """Whether attention, stream and FFN are all narrowed, wherever the model has them."""
    found = row.get("widths")
    return bool(found) and all(width["narrowed"] == width["places"] for width in found.values())


def totals(rows: Sequence[Row]) -> dict[str, int]:
    """Count what holds."""
    found = {
        "rows": len(rows),
        "captured": sum(map(is_captured, rows)),
        "equal": sum(map(is_equal, rows)),
        "silently wrong": sum(map(is_wrong, rows)),
        "widths": sum(is_equal(row) and is_narrowed(row) for row in rows),
        "onnx": sum("onnx" in row for row in rows),
        "reload": sum("reload" in row for row in rows),
        "load": sum(row.get("load", 1.0) <= EXACT for row in rows),
    }
    theirs = [row["peer"] for row in rows if "peer" in row]
    if theirs:
        found |= {f"peer {what}": sum(bool(row.get(what)) for row in theirs) for what in ("runs", "equal", "wrong")}
    return found


def missed(found: dict[str, int]) -> list[str]:
    """Return the targets of the project that are missed."""
    below = [f"{name}: {found[name]} of {target}" for name, target in TARGETS.items() if found[name] < target]
    return below + (["something is silently wrong"] if found["silently wrong"] else [])


def totals_text(found: dict[str, int]) -> str:
    """One line a total."""
    n = found["rows"]
    lines = [
        f"captured {found['captured']}/{n}, equal to the masked dense model {found['equal']}/{n}, "
        f"silently wrong {found['silently wrong']}",
        f"attention, stream and FFN all narrowed {found['widths']}/{n}",
        f"ONNX with parity {found['onnx']}/{n}, from_pretrained with parity {found['reload']}/{n}, "
        f"fxprune.load {found['load']}/{n}",
    ]
    if "peer runs" in found:
        theirs = [found[f"peer {what}"] for what in ("runs", "equal", "wrong")]
        lines.append("Torch-Pruning, unaided: runs {}, equal {}, silently wrong {}".format(*theirs))
    return "\n".join(lines)


def table_of(title: str, rows: Sequence[Row]) -> Table:
    """Lay the rows out."""
    laid = Table(title=title, title_justify="left")
    for heading in ("", "captured", "permut.", "mask=slice", "attn", "stream", "FFN", "kept", "ONNX", "reload", "load"):
        laid.add_column(heading, justify="left", no_wrap=True)
    laid.add_column("TP", no_wrap=True)
    laid.add_column("s", justify="right")
    for row in rows:
        laid.add_row(*cells(row))
    return laid


def cells(row: Row) -> list[str]:
    """Return one line of the table."""
    found = row.get("widths", {})
    return [
        row["name"],
        _rung(row),
        _error(row.get("permutation")),
        "FAULTS" if row.get("faults") else _error(row.get("masked")),
        *[_width(found.get(name)) for name in ("attention", "stream", "FFN")],
        f"{row['kept']:.0%}" if "kept" in row else "",
        _error(row.get("onnx", {}).get("error")),
        _error(row.get("reload", {}).get("error")),
        _error(row.get("load")),
        _peer(row.get("peer")),
        f"{row.get('total_seconds', 0):.0f}",
    ]


def reasons_text(rows: Sequence[Row]) -> str:
    """Say of every row in which something is missing why it is."""
    return "\n".join(f"  {row['name']}: {sentence}" for row in rows for sentence in sentences(row))


def sentences(row: Row) -> list[str]:
    """Return why something is missing, in one sentence each."""
    failed = [f"{stage}: {_sentence(row['failures'][stage])}" for stage in STAGES if stage in row["failures"]]
    stays = [reason for width in row.get("widths", {}).values() for reason in width["reasons"]]
    return failed + stays


def _sentence(text: str) -> str:
    """Bring an error to one line: its message and its cause."""
    lines = [line.strip() for line in text.splitlines()]
    kept = [line for line in lines if not line.startswith("remedy")]
    return " - ".join(line.removeprefix("cause").strip() for line in kept if line)[:300]


def _rung(row: Row) -> str:
    if "rung" not in row:
        return "no"
    return row["rung"].partition(",")[0] if is_captured(row) else f"off by {row.get('parity', 1):.0e}"


def _error(value: float | None) -> str:
    return "-" if value is None else "0" if value == 0 else f"{value:.0e}"


def _width(width: dict[str, Any] | None) -> str:
    if width is None or not width["places"]:
        return "-"
    return "all" if width["narrowed"] == width["places"] else f"{width['narrowed']}/{width['places']}"


def _peer(row: Row | None) -> str:
    if row is None:
        return ""
    return "equal" if row.get("equal") else "wrong" if row.get("wrong") else "runs" if row.get("runs") else "fails"
