"""Write docs/rules.md from the rule table: ``make docs``, or ``python docs/rules.py``."""

from __future__ import annotations

import inspect
from collections import defaultdict
from pathlib import Path

from torch._ops import OpOverload

from fxprune.rules import Applied, known_ops, pins

FILE = Path(__file__).with_name("rules.md")
POINTWISE, FIRST_ONLY = "...?", ", ->"
HEAD = """# Op rules

Generated from the rule table by `make docs`; a test compares the two. {count} ops have a rule. An op without one
freezes the axes it touches, with the reason; nothing is pointwise by default. Every line below is tried on real
tensors in `tests/rules/`: cutting the operands and then applying the op must equal applying it and then cutting.

## Notation

One pattern for each tensor, operands left of the arrow and results right of it; one name for each dimension. Equal
names are one dimension, which is cut in all of its places or in none.

| written | means |
|---|---|
| `...` | any leading dimensions, aligned at their end; sizes of one are broadcast |
| `k`, left of the arrow only | summed away: a cut unit counts as zero |
| `v!` | never cut: positions are not alike |
| `d~` | normalised over: a cut changes the values that stay, as it must |
| `o?` | the operand may be absent |
| `(h e)`, `(x + y)` | a product, row-major; parts laid end to end |
| `1` | a dimension of one position |
"""


def page() -> str:
    """Return the whole page."""
    table = sorted(known_ops().items(), key=lambda item: str(item[0]))
    lines = {op: entry for op, entry in table if not callable(entry)}
    alike = [op for op, entry in lines.items() if _is_pointwise(entry)]
    rest = {op: entry for op, entry in lines.items() if not _is_pointwise(entry)}
    parts = [HEAD.format(count=len(table)), _fixed(rest), _shaped(dict(table)), _pinned([op for op, _ in table])]
    return "\n".join([*parts, _alike(alike)])


def _is_pointwise(entry: Applied) -> bool:
    return entry.text.endswith("... -> ...") or entry.text.endswith("...? -> ...")


def _fixed(lines: dict[OpOverload, Applied]) -> str:
    rows = [f"| `{_name(op)}` | `{entry.text}` | {_notes(entry)} |" for op, entry in lines.items()]
    return "\n".join(["## One line an op", "", "| op | rule | literals, reason of `!` |", "|---|---|---|", *rows, ""])


def _notes(entry: Applied) -> str:
    literals = [f"`{argument}` follows `{names}`" for argument, names in entry.literals.items()]
    return "; ".join([*literals, *([entry.reason] if entry.reason else [])])


def _shaped(table: dict[OpOverload, object]) -> str:
    """Rules that are written for each call, from its shapes; the first sentence of each says what comes out."""
    families: dict[object, list[str]] = defaultdict(list)
    for op, entry in table.items():
        if callable(entry):
            families[entry].append(_name(op))
    rows = sorted(
        f"| {', '.join(f'`{name}`' for name in names)} | {_first_sentence(function)} |"
        for function, names in families.items()
    )
    head = ["## Written for each call, from its shapes", "", "| ops | rule |", "|---|---|"]
    return "\n".join([*head, *rows, ""])


def _first_sentence(function: object) -> str:
    text = (inspect.getdoc(function) or "").split("\n\n")[0]
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def _pinned(ops: list[OpOverload]) -> str:
    rows = [f"- `{_name(op)}`: `{'`, `'.join(pins(op))}`" for op in ops if pins(op)]
    head = "## Defaults that are computed from a size, and written down before the first cut"
    return "\n".join([head, "", *rows, ""])


def _alike(ops: list[OpOverload]) -> str:
    names = ", ".join(f"`{_name(op)}`" for op in ops)
    return f"## Element by element\n\nAll operands broadcast to the result, `..., ...? -> ...`: {names}\n"


def _name(op: OpOverload) -> str:
    return str(op).removeprefix("aten.").removesuffix(".default")


if __name__ == "__main__":
    FILE.write_text(page())
