"""The integer fields of a Hugging Face config: listing them, and a copy with some of them changed."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from transformers import PretrainedConfig

Path: TypeAlias = tuple[str | int, ...]  # ("text_config", "hidden_size"), ("hidden_sizes", 2)

# token and label ids are numbers, not sizes: changing them moves no shape and may change the outputs
_IDS = ("_id", "_ids", "_index")


def integer_fields(config: PretrainedConfig) -> dict[Path, int]:
    """Return every integer field of the config, of nested configs and in lists, that the base class does not have."""
    return {path: value for path, value in _fields(config) if isinstance(value, int)}


def empty_fields(config: PretrainedConfig) -> list[Path]:
    """Return the fields that are None: some of them stand for a size derived from others."""
    return [path for path, value in _fields(config) if value is None]


def with_fields(config: PretrainedConfig, values: Mapping[Path, int]) -> PretrainedConfig:
    """Return a copy of `config` with these fields set, as it would be after saving and loading.

    Raises:
        Exception: whatever the config class raises for values it refuses; most check them only when loaded.
    """
    changed = copy.deepcopy(config)
    for path, value in values.items():
        *owners, name = (key for key in path if isinstance(key, str))
        owner: Any = changed
        for key in owners:
            owner = getattr(owner, key)
        if isinstance(path[-1], int):
            items = getattr(owner, name)
            setattr(owner, name, type(items)([*items[: path[-1]], value, *items[path[-1] + 1 :]]))
        else:
            setattr(owner, name, value)
    return type(config).from_dict(changed.to_dict())


def field_name(path: Path) -> str:
    """Print a path as one would write it.

    >>> field_name(("text_config", "hidden_sizes", 2))
    'text_config.hidden_sizes[2]'
    """
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


def _fields(config: PretrainedConfig, prefix: Path = ()) -> Iterator[tuple[Path, int | None]]:
    from transformers import PretrainedConfig

    common = vars(PretrainedConfig())
    for name, value in vars(config).items():
        if isinstance(value, PretrainedConfig):
            yield from _fields(value, (*prefix, name))
        elif name in common or name.endswith(_IDS) or isinstance(value, bool):
            continue
        elif value is None or isinstance(value, int):
            yield (*prefix, name), value
        elif isinstance(value, list | tuple) and all(type(item) is int for item in value):
            yield from (((*prefix, name, place), item) for place, item in enumerate(value))
