"""What a run was told, as a file in its folder: from it, and a checkpoint, it goes on by itself."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fxprune.distillation.checkpoints.identity import CHANGEABLE
from fxprune.distillation.checkpoints.keeper import FOLDER, ORDER
from fxprune.distillation.config import DistillConfig
from fxprune.errors import CheckpointError, UsageError
from fxprune.hub import first_line

FORMAT, VERSION = "fxprune run", 1
_LONGEST = 1 << 20  # bytes
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a run was told.

    Attributes:
        model: hub name, "demo" or folder; of a folder the whole path.
        dataset: likewise.
        text_column, target_column: of the data set.
        config: settings.
        latency: whether teacher and student are timed at the end.
        int8: whether an int8 file is written too.
        grid: batch x length they are timed at.
        threads: likewise.
        checkpoint_every: steps; None: by time.
        keep_checkpoints: how many.
    """

    model: str
    dataset: str
    config: DistillConfig
    text_column: str | None = None
    target_column: str | None = None
    latency: bool = True
    int8: bool = False
    grid: tuple[tuple[int, int], ...] = ()
    threads: tuple[int, ...] = ()
    checkpoint_every: int | None = None
    keep_checkpoints: int = 2

    def to_data(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}

    def changed(self, settings: Mapping[str, Any]) -> Order:
        """Return it with other settings, as far as a run may go on with them.

        Raises:
            UsageError: a setting that may not change, or a value that cannot be meant.
        """
        if fixed := [name for name in settings if name not in CHANGEABLE]:
            raise UsageError(
                f"{fixed[0]} cannot change once a run has begun",
                remedy=f"what can: {', '.join(CHANGEABLE)}",
            )
        chosen = dict(settings)
        schedule = self.config.schedule
        if "interval" in chosen:
            schedule = replace(schedule, interval=chosen.pop("interval"))
        return replace(self, config=replace(self.config, schedule=schedule, **chosen))


def whole_path(name: str) -> str:
    """Return a local path as one that holds from everywhere, other names as they are."""
    path = Path(name).expanduser()
    return str(path.resolve()) if path.exists() else name


def read_order(folder: Path) -> Order:
    """Read what the run in `folder` was told.

    Raises:
        CheckpointError: there is no run, or the file is damaged.
    """
    path = folder / FOLDER / ORDER
    if not path.is_file():
        raise CheckpointError(
            f"there is no run in '{folder}' to go on with",
            cause=f"there is no {FOLDER}/{ORDER}",
            remedy="give the --output of a run that was stopped after its first step",
        )
    try:
        if path.stat().st_size > _LONGEST:
            raise ValueError("the file is too long")
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or data.pop("format", None) != FORMAT or data.pop("version", None) != VERSION:
            raise ValueError(f"it is no {FORMAT} of version {VERSION}")
        return typed(Order, data)
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
