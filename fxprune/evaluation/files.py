"""The files of a task: one split each, in a folder of the user's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fxprune.errors import DataError
from fxprune.evaluation.tasks import Task
from fxprune.hub import first_line

if TYPE_CHECKING:
    import pyarrow as pa


def _parquet(path: Path) -> pa.Table:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path)


def _json(path: Path) -> pa.Table:
    import pyarrow.json

    return pyarrow.json.read_json(path)


def _csv(path: Path) -> pa.Table:
    import pyarrow.csv

    return pyarrow.csv.read_csv(path, parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True))


_READERS: dict[str, Callable[[Path], pa.Table]] = {".parquet": _parquet, ".jsonl": _json, ".json": _json, ".csv": _csv}


def split_files(task: Task, data: Path, splits: tuple[str, ...]) -> dict[str, list[Path]]:
    """Return the files of each split: ``train.parquet``, or shards as ``train-00000-of-00002.parquet``.

    They lie in ``data/<task>/`` or in `data` itself; json lines and csv are read too.

    Raises:
        DataError: there is no such folder, or a split is missing; the error says which, and what was found.
    """
    folder = data.expanduser()
    if not folder.is_dir():
        raise DataError(f"there is no folder '{data}'", remedy=f"give a folder with {_wanted(splits)}")
    folder = next((folder / name for name in task.folders if (folder / name).is_dir()), folder)
    present = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in _READERS)
    found = {split: [p for p in present if p.stem == split or p.stem.startswith(f"{split}-")] for split in splits}
    if missing := [split for split, paths in found.items() if not paths]:
        others = ", ".join(path.name for path in present) or ", ".join(sorted(p.name for p in folder.iterdir())[:8])
        raise DataError(
            f"task {task.name!r} has no split {' and no split '.join(map(repr, missing))} in '{folder}'",
            cause=f"it holds {others}" if others else "the folder is empty",
            remedy=f"put {_wanted(tuple(missing))} there",
        )
    return {split: _one_kind(paths) for split, paths in found.items()}


def read_files(paths: list[Path]) -> pa.Table:
    """Return the rows of `paths`, one after the other.

    Raises:
        DataError: a file cannot be read, or its columns are not those of the first.
    """
    import pyarrow as pa

    tables = []
    for path in paths:
        try:
            tables.append(_READERS[path.suffix](path))
        except (OSError, pa.ArrowException) as error:
            remedy = "give a whole file: parquet, json lines, or csv with a header"
            raise DataError(f"'{path}' cannot be read", cause=first_line(error), remedy=remedy) from error
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"the parts of '{paths[0].parent}' do not fit together", cause=first_line(error)) from error


def _one_kind(paths: list[Path]) -> list[Path]:
    """Leave out copies of a split in another format: the first kind of `_READERS` is read."""
    kind = next(suffix for suffix in _READERS if any(path.suffix == suffix for path in paths))
    return [path for path in paths if path.suffix == kind]


def _wanted(splits: tuple[str, ...]) -> str:
    return " and ".join(f"{split}.parquet" for split in splits)
