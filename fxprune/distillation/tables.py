"""Data sets with several columns: all of them, of the training rows or of those held out."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, TypeAlias

from fxprune.distillation.data import DEMO, HELD_OUT_IN, Split, text_dataset
from fxprune.distillation.files import FileSet, find_files
from fxprune.distillation.reading import BUFFER, IN_MEMORY, empty, hub_splits, readable, stream_of, with_rows
from fxprune.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset, Features, IterableDataset

    Table: TypeAlias = Dataset | IterableDataset


def features_of(spec: str) -> Features:
    """Return the columns of a data set and their types, from its first rows.

    Raises:
        DataError: there is no such data, or it cannot be read, or it has no rows.
    """
    from datasets import Features

    if spec == DEMO:
        return text_dataset(DEMO, split="held_out").features
    files = find_files(spec)
    with readable(spec):
        stream = hub_splits(spec)["train"] if files is None else _stream(files, files.of(held_out=False))
        first = next(stream.with_format("arrow").iter(100), None)
    if first is None:
        raise empty(spec)
    return stream.features or Features.from_arrow_schema(first.schema)


def read_table(spec: str, content: str, *, split: Split, seed: int = 0) -> Table:
    """Return the rows of a data set, training rows in the order of `seed`.

    Held out is the validation split or file where there is one, else 2 % of the rows, chosen by the hash of `content`.

    Args:
        spec: "demo", a file or folder, or a hub name; local files of more than 1 GiB and hub data sets are streamed.
        content: the column rows are told apart by.
        split: "train", or "held_out".
        seed: of the order of the training rows.
    Raises:
        DataError: there is no such data, it cannot be read, or no row can be held out.
    """
    if spec == DEMO:
        return text_dataset(DEMO, split=split, seed=seed)
    files = find_files(spec)
    with readable(spec):
        data, own = _hub(spec, split) if files is None else _local(spec, files, split)
        data = _undecoded(data)
        if not own:
            data = _half(spec, data, content, split)
        if hasattr(data, "__len__") and not len(data):
            raise empty(spec)
    if split == "held_out":
        return data
    return data.shuffle(seed=seed) if hasattr(data, "__len__") else data.shuffle(seed=seed, buffer_size=BUFFER)


def _stream(files: FileSet, paths: Any) -> IterableDataset:
    return stream_of(files.kind, with_rows(files, paths))


def _local(spec: str, files: FileSet, split: Split) -> tuple[Table, bool]:
    import pyarrow
    from datasets import Dataset

    paths = files.of(held_out=split == "held_out")
    stream = _stream(files, paths)
    if sum(path.stat().st_size for path in paths) > IN_MEMORY:
        return stream, bool(files.held_out)
    tables = list(stream.with_format("arrow").iter(1000))
    if not tables:
        raise empty(spec)
    return Dataset(pyarrow.concat_tables(tables, promote_options="default")), bool(files.held_out)


def _hub(spec: str, split: Split) -> tuple[Table, bool]:
    splits = hub_splits(spec)
    own = "validation" in splits
    return splits["validation" if own and split == "held_out" else "train"], own


def _undecoded(data: Table) -> Table:
    """Leave images as the bytes they are: they are decoded one batch at a time."""
    from datasets import Image

    for name, feature in (data.features or {}).items():
        if isinstance(feature, Image):
            data = data.cast_column(name, Image(decode=False))
    return data


def _half(spec: str, data: Table, content: str, split: Split) -> Table:
    """Return the rows of one split of data that have none."""
    if not hasattr(data, "__len__"):
        return data.filter(
            lambda value: (_hash(value) % HELD_OUT_IN == 0) == (split == "held_out"), input_columns=content
        )
    if len(data) == 1 and split == "held_out":
        raise DataError(f"data set {spec!r} has one row, so none can be held out", remedy="give more rows")
    order = sorted(range(len(data)), key=[_hash(value) for value in data[content]].__getitem__)
    n = -(-len(data) // HELD_OUT_IN) if len(data) > 1 else 0
    return data.select(sorted(order[:n] if split == "held_out" else order[n:]))


def _hash(value: object) -> int:
    return zlib.crc32(repr(value).encode(errors="replace"))
