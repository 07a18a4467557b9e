from __future__ import annotations

from pathlib import Path

import pytest

from fxprune.distillation.files import find_files
from fxprune.errors import DataError


def touch(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return str(folder)


@pytest.mark.parametrize(
    ("names", "kind", "train", "held_out"),
    [
        (["train.parquet", "validation.parquet", "test.parquet"], "parquet", ["train.parquet"], ["validation.parquet"]),
        (["train-00000-of-00001.parquet", "validation-00000-of-00001.parquet"], "parquet", 1, 1),
        (["train/0.parquet", "train/1.parquet", "validation/0.parquet"], "parquet", 2, 1),
        (["part0.jsonl", "part1.jsonl", "dev.jsonl"], "json", ["part0.jsonl", "part1.jsonl"], ["dev.jsonl"]),
        (["a.parquet", "README.txt", "dataset_info.json"], "parquet", ["a.parquet"], []),
        (["value.txt", "testimony.txt", "devices.txt"], "text", 3, 0),  # words that only begin like a split
        ([".hidden.txt", "a.txt"], "text", ["a.txt"], []),
    ],
)
def test_files_are_sorted_into_training_and_held_out(
    tmp_path: Path, names: list[str], kind: str, train: list[str] | int, held_out: list[str] | int
) -> None:
    found = find_files(touch(tmp_path, *names))
    assert found is not None
    assert found.kind == kind
    for paths, expected in ((found.train, train), (found.held_out, held_out)):
        assert (len(paths) if isinstance(expected, int) else [path.name for path in paths]) == expected


def test_a_name_that_is_no_path_is_left_to_the_hub() -> None:
    assert find_files("owner/name") is None


def test_what_cannot_be_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no data files"):
        find_files(str(tmp_path))
    with pytest.raises(DataError, match="there is no file"):
        find_files(str(tmp_path / "absent.parquet"))
    touch(tmp_path, "notes.docx")
    with pytest.raises(DataError, match="unknown kind"):
        find_files(str(tmp_path / "notes.docx"))


def test_a_folder_of_validation_and_test_files_has_nothing_to_train_on(tmp_path: Path) -> None:
    found = find_files(touch(tmp_path, "test.parquet", "validation.parquet"))
    assert found is not None
    assert [path.name for path in found.of(held_out=True)] == ["validation.parquet"]
    with pytest.raises(DataError, match="has no training file"):
        found.of(held_out=False)
