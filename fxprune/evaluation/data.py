"""The rows of a task, from the hub or a folder, checked before anything is trained on them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fxprune.errors import DataError
from fxprune.evaluation.files import read_files, split_files
from fxprune.evaluation.tasks import Task
from fxprune.hub import chain, first_line, offline, offline_remedy

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

TRAIN = "train"


def read_splits(task: Task, data: Path | None, *, train: bool) -> dict[str, pa.Table]:
    """Return the rows of each split, the columns named as in `task` and in its order.

    Args:
        task: what is asked.
        data: folder of files; None: the hub.
        train: whether training rows are needed.
    Raises:
        DataError: a split or a column is missing, or holds what the task cannot use.
    """
    splits = (*((TRAIN,) if train else ()), *task.held_out)
    if data is not None:
        files = split_files(task, data, splits)
        return {split: _checked(task, _place(paths), read_files(paths)) for split, paths in files.items()}
    return {split: _checked(task, f"split {split!r}", _from_hub(task, split)) for split in splits}


def sample(rows: pa.Table, most: int | None) -> pa.Table:
    """Return `most` of the rows in their order, the same ones at every call."""
    if most is None or most >= rows.num_rows:
        return rows
    return rows.take(sorted(random.Random(0).sample(range(rows.num_rows), most)))


def _place(paths: Sequence[Path]) -> str:
    return f"'{paths[0]}'"


def _from_hub(task: Task, split: str) -> pa.Table:
    from datasets import load_dataset
    from huggingface_hub import constants

    name, config = task.hub
    if offline() and not constants.is_offline_mode():  # with HF_HUB_OFFLINE the library looks into its cache
        raise DataError(
            f"the data of task {task.name!r} is on the hub ({name}), and there is no network",
            remedy=f"{offline_remedy().partition(',')[0]}, or pass --data with a folder of parquet files",
        )
    try:
        return load_dataset(name, config, split=split).with_format("arrow")[:]
    except Exception as error:  # of whatever kind: the hub's, the network's, the reader's
        raise DataError(
            f"the data of task {task.name!r} cannot be loaded from the hub ({name})",
            cause=first_line(chain(error)[-1]),
            remedy="try again, or pass --data with a folder of parquet files",
        ) from error


def _checked(task: Task, where: str, rows: pa.Table) -> pa.Table:
    """Return the columns of `task`, in its order and under its names."""
    chosen = {names[0]: next((name for name in names if name in rows.column_names), None) for names in task.columns}
    if missing := [name for name, found in chosen.items() if found is None]:
        raise DataError(
            f"{where} has no column {' and no column '.join(map(repr, missing))}, which task {task.name!r} needs",
            cause=f"its columns are {', '.join(rows.column_names)}",
            remedy="rename the columns, or choose the task they belong to",
        )
    rows = rows.select(list(chosen.values())).rename_columns(list(chosen))
    if not rows.num_rows:
        raise DataError(f"{where} has no rows", remedy="give one with rows in it")
    for name in rows.column_names:
        if rows[name].null_count:
            row = rows[name].to_pylist().index(None) + 1
            raise DataError(f"{where} has no value for {name!r} in row {row}", remedy="leave out incomplete rows")
    _check_texts(task, where, rows)
    (_check_answers if task.kind == "question-answering" else _check_labels)(task, where, rows)
    return rows


def _check_texts(task: Task, where: str, rows: pa.Table) -> None:
    from pyarrow import types

    for name in task.texts:
        kind = rows[name].type
        if not (types.is_string(kind) or types.is_large_string(kind)):
            raise DataError(f"the column {name!r} of {where} holds {kind}, not text", remedy="store it as strings")


def _check_labels(task: Task, where: str, rows: pa.Table) -> None:
    from pyarrow import types

    kind = rows["label"].type
    if not (types.is_integer(kind) or (task.classes == 1 and types.is_floating(kind))):
        wanted = "numbers" if task.classes == 1 else f"whole numbers from 0 to {task.classes - 1}"
        raise DataError(f"the labels of {where} are {kind}", remedy=f"task {task.name!r} needs {wanted}")
    values = rows["label"].to_numpy()
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(f"the label of row {row + 1} of {where} is {values[row]}", remedy="leave out such rows")
    if task.classes > 1 and not (values.min() >= 0 and values.max() < task.classes):
        raise DataError(
            f"the labels of {where} run from {values.min()} to {values.max()}",
            cause=f"task {task.name!r} has the classes 0 to {task.classes - 1}",
            remedy="give a split with labels (those of the public test files are hidden)",
        )


def _check_answers(task: Task, where: str, rows: pa.Table) -> None:
    first: Any = rows["answers"][0].as_py()
    if not isinstance(first, dict) or not {"text", "answer_start"} <= first.keys():
        raise DataError(
            f"the column 'answers' of {where} holds {rows['answers'].type}",
            remedy="store each as {text: [...], answer_start: [...]}",
        )
    if task.name == "squad" and (without := sum(not row["text"] for row in rows["answers"].to_pylist())):
        raise DataError(
            f"{without:,} questions of {where} have no answer", remedy="--task squad_v2 is the one with such questions"
        )
