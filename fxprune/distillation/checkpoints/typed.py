"""Dataclasses from JSON that may be damaged or hostile: every field is of its annotated type, or nothing is read."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fxprune.errors import CheckpointError, UsageError
from fxprune.hub import first_line

_LONGEST = 1 << 20  # bytes
T = TypeVar("T")


def read_typed(path: Path, kind: type[T], name: str, version: int) -> T:
    """Read a dataclass from the JSON file at `path`, which says `name` and `version` besides its fields.

    Raises:
        CheckpointError: the file is damaged, or of another kind.
    """
    try:
        if path.stat().st_size > _LONGEST:
            raise ValueError("the file is too long")
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or data.pop("format", None) != name or data.pop("version", None) != version:
            raise ValueError(f"it is no {name} of version {version}")
        return typed(kind, data)
    except (OSError, ValueError, TypeError, OverflowError, UsageError, RecursionError) as error:
        raise CheckpointError(
            f"'{path}' is damaged", cause=first_line(error), remedy="begin the run again, with --overwrite"
        ) from error


def typed(kind: type[T], data: Any) -> T:
    """Make a dataclass of plain data, each field of the type it is annotated with.

    Raises:
        TypeError: a field is unknown, missing or of another type.
        UsageError: a value the dataclass itself refuses.
    """
    if not isinstance(data, dict):
        raise TypeError(f"{kind.__name__} is {data!r:.60}")
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if strange := sorted(set(data) - known):
        raise TypeError(f"{kind.__name__} has no {strange[0]!r:.60}")
    hints = get_type_hints(kind)
    return kind(**{name: _typed(hints[name], value, name) for name, value in data.items()})


def _typed(hint: Any, value: Any, name: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, Union):
        return _one_of(arguments, value, name)
    if origin is Literal and value in arguments:
        return value
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {_typed(arguments[0], key, name): _typed(arguments[1], item, name) for key, item in value.items()}
    if origin is tuple and isinstance(value, list):
        kinds = [arguments[0]] * len(value) if arguments[-1] is ... else list(arguments)
        if len(kinds) == len(value):
            return tuple(_typed(kind, item, name) for kind, item in zip(kinds, value, strict=True))
    if is_dataclass(hint):
        return typed(hint, value)  # type: ignore[arg-type]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise TypeError(f"{name} is {value!r:.60}")


def _one_of(kinds: tuple[Any, ...], value: Any, name: str) -> Any:
    for kind in kinds:
        try:
            return _typed(kind, value, name)
        except TypeError:
            continue
    raise TypeError(f"{name} is {value!r:.60}")
