"""Numbers and names as people read them."""

from __future__ import annotations

import re

_UNITS = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def short(count: int) -> str:
    """Return a large number with three digits and its unit.

    >>> short(22_345_678_901), short(1_300)
    ('22.3G', '1.30k')
    """
    size, unit = next(((size, unit) for size, unit in _UNITS if count >= size), (1, ""))
    digits = max(0, 2 - len(str(count // size)) + 1) if unit else 0
    return f"{count / size:.{digits}f}{unit}"


def megabytes(size: int | None) -> str:
    """Return a size in MB, or nothing if it is unknown.

    >>> megabytes(12_500_000)
    '12.5 MB'
    """
    return "" if size is None else f"{size / 1e6:,.1f} MB"


def shape_name(batch: object, length: object) -> str:
    """Return what something is measured at; a model without a sequence has no length.

    >>> shape_name(8, 128), shape_name(8, None)
    ('8 x 128', 'batch 8')
    """
    return f"{batch} x {length}" if length else f"batch {batch}"


def folded(name: str) -> str:
    """``encoder.layer.3.dense`` is one of ``encoder.layer.*.dense``.

    >>> folded("encoder.layer.3.dense#2")
    'encoder.layer.*.dense'
    """
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", re.sub(r"#\d+$", "", name))
