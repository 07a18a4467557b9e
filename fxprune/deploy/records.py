"""Stand-ins for output classes whose code is not here: a stored program names them, and cannot be read without.

A stand-in is a dictionary with the class's name and fields, which may also be read as attributes.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch.utils import _pytree as pytree

_TYPE = re.compile(r'\\"type\\": \\"([\w.]+)\\"')  # inside a text that is itself inside JSON


class Record(dict[str, Any]):
    """What a class with named fields became."""

    context: Any = None

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"{type(self).__name__} has no {name!r}; it has {', '.join(self)}")


def register_records(path: Path) -> list[str]:
    """Make the stored program at `path` readable: every class it names and nobody registered becomes a stand-in.

    Returns:
        The names of these classes.
    """
    missing = sorted(named_classes(path) - pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE.keys())
    for name in missing:
        _register(name)
    return missing


def forget_records(names: Iterable[str]) -> None:
    """Give the names free again, for the classes themselves may still be imported."""
    for name in names:
        pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE.pop(name, None)
        pytree.treespec_loads.cache_clear()


def named_classes(path: Path) -> set[str]:
    """Return the classes of the inputs and outputs of a stored program."""
    with suppress(zipfile.BadZipFile, UnicodeDecodeError), zipfile.ZipFile(path) as archive:
        models = [name for name in archive.namelist() if name.endswith(".json") and "/models/" in name]
        return {found for name in models for found in _TYPE.findall(archive.read(name).decode())}
    return set()


def _register(name: str) -> None:
    kind = type(name.rpartition(".")[2], (Record,), {})

    def rebuild(values: Iterable[Any], context: Any) -> Record:
        items = list(values)
        record = kind(zip(_fields(context, len(items)), items, strict=True))
        record.context = context
        return record

    pytree.register_pytree_node(
        kind,
        lambda record: (list(record.values()), record.context),
        rebuild,
        serialized_type_name=name,
        to_dumpable_context=lambda context: context,
        from_dumpable_context=lambda context: context,
    )


def _fields(context: Any, count: int) -> list[str]:
    """Return the names of the fields, as libraries write them down: a list of names, or such a list and another."""
    known = None
    with suppress(TypeError, ValueError):
        known = json.loads(context)
    for names in (known, known[0] if isinstance(known, list) and known else None):
        if isinstance(names, list) and len(names) == count and all(isinstance(name, str) for name in names):
            return names
    return [str(place) for place in range(count)]
