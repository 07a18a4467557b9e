"""Text to distil on: the demo corpus, local files or a data set on the hub, always with one column "text"."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Literal, TypeAlias

from fxprune.distillation.files import FileSet, find_files
from fxprune.distillation.packing import fixed_batches, mask_tokens, packed_batches
from fxprune.distillation.reading import (
    BUFFER,
    IN_MEMORY,
    empty,
    hub_splits,
    readable,
    stream_of,
    with_rows,
)
from fxprune.errors import DataError, unknown_name
from fxprune.hub import offline

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

    Text: TypeAlias = Dataset | IterableDataset

__all__ = [
    "DEFAULT_DATASET",
    "DEMO",
    "Split",
    "default_dataset",
    "fixed_batches",
    "mask_tokens",
    "packed_batches",
    "text_dataset",
]

Split = Literal["train", "held_out"]

DEMO = "demo"
DEFAULT_DATASET = ("wikimedia/wikipedia", "20231101.en")

HELD_OUT_IN = 50  # one row in fifty, where the data set has no split of its own
_NAMES = ("text", "sentence", "content")


def default_dataset() -> str:
    """Return the data set a run takes if none is named, or raise DataError where it cannot be reached."""
    name = ":".join(DEFAULT_DATASET)
    if offline():
        raise DataError(
            f"the default data set {name} needs a network, and there is none",
            remedy="pass --dataset demo, or --dataset with local text files",
        )
    return name


def text_dataset(spec: str, *, split: Split = "train", seed: int = 0, text_column: str | None = None) -> Text:
    """Return a data set with the one column "text", blank rows left out.

    Held out is the validation split or file where there is one, else 2 % of the rows, chosen by the hash of their
    text: which, depends neither on the seed nor on the order of the rows.

    Args:
        spec: "demo", a file or folder of parquet, json, jsonl or txt, or a hub name (``name`` or ``name:config``);
            local files of more than 1 GiB and hub data sets are streamed.
        split: "train", or "held_out".
        seed: of the order of the training rows.
        text_column: the column to read; default: text, sentence or content, else the only column of strings.
    Raises:
        DataError: there is no such data, it cannot be read, or it has no text.
    """
    if spec == DEMO:
        data = _demo(split)
    elif (files := find_files(spec)) is not None:
        data = _local(files, split, text_column)
    else:
        data = _hub(spec, split, text_column)
    if split == "held_out":
        return data
    return data.shuffle(seed=seed) if hasattr(data, "__len__") else data.shuffle(seed=seed, buffer_size=BUFFER)


def _demo(split: Split) -> Dataset:
    from datasets import Dataset

    from fxprune.demo.corpus import demo_texts

    return Dataset.from_dict({"text": demo_texts(split)})


def _local(files: FileSet, split: Split, text_column: str | None) -> Text:
    own = bool(files.held_out)
    paths = files.of(held_out=split == "held_out")
    with readable(files.spec):
        stream = stream_of(files.kind, with_rows(files, paths))
        column = _text_column(files.spec, stream, text_column)
        if sum(path.stat().st_size for path in paths) > IN_MEMORY:
            return _rows(stream, column, None if own else split)
        texts = [text for batch in stream.select_columns([column]).iter(1000) for text in batch[column]]
    return _in_memory(files.spec, [text for text in texts if text and text.strip()], None if own else split)


def _in_memory(spec: str, texts: list[str], split: Split | None) -> Dataset:
    from datasets import Dataset

    if not texts:
        raise empty(spec)
    if split is None:
        return Dataset.from_dict({"text": texts})
    if len(texts) == 1 and split == "held_out":
        raise DataError(f"data set {spec!r} has one row, so none can be held out", remedy="give more text")
    order = sorted(range(len(texts)), key=lambda i: (_hash(texts[i]), i))
    n = -(-len(texts) // HELD_OUT_IN) if len(texts) > 1 else 0
    chosen = sorted(order[:n] if split == "held_out" else order[n:])
    return Dataset.from_dict({"text": [texts[i] for i in chosen]})


def _hub(spec: str, split: Split, text_column: str | None) -> IterableDataset:
    splits = hub_splits(spec)
    with readable(spec):
        own = "validation" in splits
        stream = splits["validation" if own and split == "held_out" else "train"]
        return _rows(stream, _text_column(spec, stream, text_column), None if own else split)


def _rows(stream: IterableDataset, column: str, split: Split | None) -> IterableDataset:
    """Keep of a stream the column "text", and of that the rows of `split`."""
    stream = stream.select_columns([column])
    if column != "text":
        stream = stream.rename_column(column, "text")

    def wanted(text: str | None) -> bool:
        if not text or not text.strip():
            return False
        return split is None or (split == "held_out") == (_hash(text) % HELD_OUT_IN == 0)

    return stream.filter(wanted, input_columns="text")


def _hash(text: str) -> int:
    return zlib.crc32(text.encode(errors="replace"))


def _text_column(spec: str, stream: IterableDataset, wanted: str | None) -> str:
    """Return the column of `stream` that holds the text."""
    import pyarrow.types

    first = next(stream.with_format("arrow").iter(100), None)
    if first is None:
        raise empty(spec)
    strings = [f.name for f in first.schema if pyarrow.types.is_string(f.type) or pyarrow.types.is_large_string(f.type)]
    if wanted is not None:
        if wanted not in strings:
            raise DataError(f"data set {spec!r}: {unknown_name('text column', wanted, strings)}")
        return wanted
    likely = [name for name in _NAMES if name in strings]
    if likely or len(strings) == 1:
        return (likely or strings)[0]
    raise DataError(
        f"data set {spec!r} has no text column",
        cause=f"its columns are {', '.join(first.schema.names)}",
        remedy=f"call one of them text_column: {', '.join(strings)}" if strings else "give a data set with text",
    )
