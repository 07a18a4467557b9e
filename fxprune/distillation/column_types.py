"""What a column of a data set can hold, by its type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_NUMBERS = ("int", "uint", "float", "double", "bool", "decimal")


def _dtype(feature: Any) -> str:
    return str(getattr(feature, "dtype", ""))


def is_text(feature: Any) -> bool:
    """Tell whether a column holds text."""
    return _dtype(feature) in ("string", "large_string")


def is_label(feature: Any) -> bool:
    """Tell whether a column holds numbers or classes."""
    return bool(names_of(feature)) or (not is_list(feature, bool) and _dtype(feature).startswith(_NUMBERS))


def is_list(feature: Any, of: Callable[[Any], Any]) -> bool:
    """Tell whether a column holds lists of what `of` accepts."""
    from datasets import LargeList, List

    return isinstance(feature, List | LargeList) and bool(of(feature.feature))


def item_of(feature: Any) -> Any:
    """Return the type of the items of a list, any other type as it is."""
    return getattr(feature, "feature", feature)


def is_image(feature: Any) -> bool:
    """Tell whether a column holds files of images, or planes of pixels."""
    from datasets import Image

    if isinstance(feature, Image) or _dtype(feature) in ("binary", "large_binary"):
        return True
    if isinstance(feature, dict):
        return "bytes" in feature
    return is_list(feature, lambda row: is_list(row, lambda _: True)) or len(getattr(feature, "shape", ())) > 1


def languages_of(feature: Any) -> tuple[str, ...]:
    """Return the languages of a column of translations."""
    if isinstance(getattr(feature, "languages", None), (list, tuple)):
        return tuple(feature.languages)
    return tuple(feature) if isinstance(feature, dict) and all(map(is_text, feature.values())) else ()


def names_of(feature: Any) -> tuple[str, ...]:
    """Return the names of the classes of a column, none if it has none."""
    return tuple(getattr(feature, "names", None) or ())


def is_id(name: str) -> bool:
    """Tell whether a column by this name numbers the rows."""
    return name.lower() in ("id", "idx", "index", "guid", "__index_level_0__") or name.lower().endswith("_id")
