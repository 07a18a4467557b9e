"""How local files and data sets on the hub are opened, and what goes wrong told in one sentence."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fxprune.distillation.files import FileSet, find_files
from fxprune.errors import DataError
from fxprune.hub import chain, first_line, is_hub_name, offline, offline_remedy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from datasets import IterableDataset

IN_MEMORY = 1 << 30  # bytes of files; more is streamed
BUFFER = 10_000  # rows a stream is shuffled in
_FEW = 100  # files that are read one by one to find the damaged one


def hub_splits(spec: str) -> dict[str, IterableDataset]:
    """Return the splits of a data set on the hub, streamed.

    Raises:
        DataError: there is no such data set, or no network, or it has no training rows.
    """
    from datasets import load_dataset

    name, _, config = spec.partition(":")
    check_reachable(spec)
    with readable(spec):
        splits: dict[str, IterableDataset] = load_dataset(name, config or None, streaming=True)
        if "train" not in splits:
            raise DataError(
                f"data set {spec!r} has no split 'train'",
                cause=f"it has {', '.join(splits)}",
                remedy="give another data set, or a file of this one",
            )
    return splits


def check_reachable(spec: str) -> None:
    """Raise DataError where the hub cannot be asked for `spec`."""
    from huggingface_hub import constants

    if not is_hub_name(spec.partition(":")[0]):
        raise DataError(f"there is no file or folder {spec!r}", remedy="give a file, a folder, a hub name or 'demo'")
    # with HF_HUB_OFFLINE the library itself looks into its cache, at once
    if offline() and not constants.is_offline_mode():
        raise DataError(
            f"data set {spec!r} is neither a file nor a folder, and there is no network",
            remedy=f"{offline_remedy()}, or --dataset demo",
        )


def with_rows(files: FileSet, paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """Leave out files without rows, which the readers of `datasets` 5.2 fail on."""
    import pyarrow.parquet

    if files.kind == "parquet":
        kept = tuple(path for path in paths if pyarrow.parquet.read_metadata(path).num_rows)
    else:
        kept = tuple(path for path in paths if not _is_blank(path))
    if not kept:
        raise empty(files.spec)
    return kept


def _is_blank(path: Path) -> bool:
    with path.open("rb") as file:
        return not any(block.strip() for block in iter(lambda: file.read(1 << 20), b""))


def stream_of(kind: str, paths: tuple[Path, ...]) -> IterableDataset:
    """Return the rows of local files, read as they are asked for."""
    from datasets import load_dataset

    options = {"sample_by": _sample_by(paths[0])} if kind == "text" else {}
    return load_dataset(kind, data_files=[str(path) for path in paths], split="train", streaming=True, **options)


def _sample_by(path: Path) -> str:
    """Return what a row of a text file is: a paragraph if it has blank lines, a line otherwise."""
    with path.open("rb") as file:
        return "paragraph" if b"\n\n" in file.read(1 << 20).replace(b"\r", b"") else "line"


def empty(spec: str) -> DataError:
    """Say that there are no rows."""
    return DataError(f"data set {spec!r} is empty", remedy="give one with text in it")


@contextmanager
def readable(spec: str) -> Iterator[None]:
    """Turn what the readers raise into one sentence, and keep their notes off the terminal."""
    import logging

    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from datasets.utils import logging as notes
    from pyarrow import ArrowException

    level = notes.get_verbosity()
    notes.set_verbosity(logging.CRITICAL)
    try:
        yield
    except DatasetNotFoundError as error:
        raise DataError(
            f"there is no data set {spec!r} on the hub, and no such file or folder",
            remedy="check the spelling; a private one needs `hf auth login`",
        ) from error
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, ArrowException, DatasetsError) as error:
        file = _damaged_file(spec)
        raise DataError(
            f"data set {spec!r} cannot be read",
            cause=f"{f'{file.name}: ' if file else ''}{first_line(chain(error)[-1])}",
            remedy="give parquet, json, jsonl or UTF-8 text files, whole and unchanged",
        ) from error
    finally:
        notes.set_verbosity(level)


def _damaged_file(spec: str) -> Path | None:
    """Return the first of several files that cannot be read; None where reading them all would take long."""
    try:
        files = find_files(spec)
    except DataError:
        return None
    paths = [] if files is None else [*files.train, *files.held_out]
    few = 1 < len(paths) <= _FEW and sum(path.stat().st_size for path in paths) <= IN_MEMORY
    if files is None or not few:
        return None
    return next((path for path in paths if not _whole(files.kind, path)), None)


def _whole(kind: str, path: Path) -> bool:
    try:
        with_rows(FileSet(spec=path.name, kind=kind, train=(path,), held_out=()), (path,))
        deque(stream_of(kind, (path,)).iter(1000), maxlen=0)
    except DataError:  # no rows
        return True
    except Exception:  # what readers raise is theirs to choose, and the first of it is told already
        return False
    return True
