"""Which local files make up a data set, and which of them are held out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from fxprune.errors import DataError

# in this order: a folder of parquet files may hold a README.txt
_KINDS = {
    "parquet": (".parquet",),
    "json": (".jsonl", ".json"),
    "csv": (".csv",),
    "text": (".txt",),
    "imagefolder": (".png", ".jpg", ".jpeg", ".webp", ".bmp"),
}
_HELD_OUT = re.compile(r"(validation|valid|val|dev|eval|held_?out)\b|(validation|valid|val|dev|eval)[-_.]", re.I)
_TEST = re.compile(r"test\b|test[-_.]", re.I)
_TRAIN = re.compile(r"train", re.I)
_NOT_DATA = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "readme.txt", "license.txt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSet:
    """The files of one data set."""

    spec: str
    kind: str  # name of the reader in `datasets`
    train: tuple[Path, ...]
    held_out: tuple[Path, ...]  # empty: rows of `train` are held out

    def of(self, *, held_out: bool) -> tuple[Path, ...]:
        """Return the files to read for the held-out rows, or for the training rows.

        Raises:
            DataError: there are none to train on.
        """
        chosen = self.held_out if held_out and self.held_out else self.train
        if not chosen:
            raise DataError(
                f"folder {self.spec!r} has no training file",
                cause="what it has is named as validation or test data",
                remedy="to train on one of its files, give the file itself",
            )
        return chosen


def find_files(spec: str) -> FileSet | None:
    """Return the files that `spec` names, or None if it is no local path.

    Raises:
        DataError: the file is of an unknown kind or absent, or the folder has no data files.
    """
    path = Path(spec).expanduser()
    if path.is_dir():
        return _folder(spec, path)
    suffix = path.suffix.lower()
    kind = next((kind for kind, suffixes in _KINDS.items() if suffix in suffixes), None)
    if path.exists():
        if kind is None:
            raise DataError(f"data set {spec!r} is a file of unknown kind", remedy=f"give {_known()}")
        return FileSet(spec=spec, kind=kind, train=(path,), held_out=())
    if kind is not None:
        raise DataError(f"there is no file {spec!r}", remedy="check the path")
    return None


def _folder(spec: str, folder: Path) -> FileSet:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not _ignored(p.relative_to(folder)))
    for kind, suffixes in _KINDS.items():
        found = [path for path in files if path.suffix.lower() in suffixes]
        if found:
            return _split(spec, folder, kind, found)
    raise DataError(f"folder {spec!r} has no data files", remedy=f"give a folder with {_known()}")


def _split(spec: str, folder: Path, kind: str, found: list[Path]) -> FileSet:
    def named(pattern: re.Pattern[str], files: list[Path]) -> list[Path]:
        return [path for path in files if any(pattern.match(part) for part in path.relative_to(folder).parts)]

    held_out = named(_HELD_OUT, found)
    rest = [path for path in found if path not in held_out and path not in named(_TEST, found)]
    train = named(_TRAIN, rest) or rest
    return FileSet(spec=spec, kind=kind, train=tuple(train), held_out=tuple(held_out))


def _ignored(relative: Path) -> bool:
    return relative.name.lower() in _NOT_DATA or any(part.startswith(".") for part in relative.parts)


def _known() -> str:
    return ", ".join(suffix for suffixes in _KINDS.values() for suffix in suffixes) + " files"
