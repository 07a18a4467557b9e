"""Values from files that anyone may have written: texts without invisible characters, numbers that are numbers."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any

_LAYOUT = "\n\t"
_MOST = 4000  # characters of one text


def cleaned(value: Any) -> Any:
    """Return JSON data without control, formatting and surrogate characters in its texts.

    >>> cleaned({"na\\x00me": ["b\\u202eert", 1]})
    {'name': ['bert', 1]}
    """
    if isinstance(value, str):
        if len(value) <= _MOST and value.isprintable():
            return value
        kept = "".join(char for char in value if char in _LAYOUT or unicodedata.category(char)[0] != "C")
        return kept if len(kept) <= _MOST else kept[:_MOST] + " ..."
    if isinstance(value, Mapping):
        return {cleaned(str(key)): cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(item) for item in value]
    return value


def number(value: Any) -> float | None:
    """Return a finite number, or None for whatever else stands in its place."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def whole(value: Any) -> int | None:
    """Return a count, or None."""
    found = number(value)
    return None if found is None or found < 0 else int(found)


def text(value: Any) -> str:
    """Return one line of text; nothing for None."""
    return "" if value is None else " ".join(str(value).split())


def mapping(value: Any) -> Mapping[str, Any]:
    """Return an object, or an empty one for whatever else stands in its place."""
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> list[Any]:
    """Return a list, or an empty one for whatever else stands in its place."""
    return value if isinstance(value, list) else []
