"""Files and folders appear whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fxprune.atomic import atomic_folder, atomic_path, atomic_write, move_files

if TYPE_CHECKING:
    from pathlib import Path


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def fail(path: Path) -> None:
    path.write_text("half")
    raise RuntimeError("half way")


def test_write_makes_the_folder_and_replaces_the_file(tmp_path):
    atomic_write(tmp_path / "deep" / "plan.json", "old")
    atomic_write(tmp_path / "deep" / "plan.json", "né".encode())
    assert (tmp_path / "deep" / "plan.json").read_text() == "né"
    assert names(tmp_path / "deep") == ["plan.json"]


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    atomic_write(tmp_path / "plan.json", "old")
    with pytest.raises(RuntimeError, match="half way"), atomic_path(tmp_path / "plan.json") as temporary:
        fail(temporary)
    assert (tmp_path / "plan.json").read_text() == "old"
    assert names(tmp_path) == ["plan.json"]


def test_the_temporary_name_keeps_the_suffix_and_the_folder(tmp_path):
    with atomic_path(tmp_path / "model.onnx") as temporary:
        assert (temporary.suffix, temporary.parent) == (".onnx", tmp_path)
        assert temporary.name != "model.onnx"
        temporary.write_bytes(b"")


def test_a_writer_that_wrote_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "model.onnx"):
        pass
    assert names(tmp_path) == []


def test_a_folder_takes_the_place_of_the_old_one(tmp_path):
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "checkpoint") as temporary:
            (temporary / content).write_text(content)
    assert names(tmp_path) == ["checkpoint"]
    assert names(tmp_path / "checkpoint") == ["new"]


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path):
    with atomic_folder(tmp_path / "checkpoint") as temporary:
        (temporary / "old").write_text("old")
    with pytest.raises(RuntimeError, match="half way"), atomic_folder(tmp_path / "checkpoint") as temporary:
        fail(temporary / "new")
    assert names(tmp_path) == ["checkpoint"]
    assert names(tmp_path / "checkpoint") == ["old"]


def test_moved_files_leave_others_in_place(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    atomic_write(source / "config.json", "new")
    atomic_write(source / "onnx" / "model.onnx", "new")
    atomic_write(target / "config.json", "old")
    atomic_write(target / "plan.json", "kept")
    moved = move_files(source, target)
    assert moved == [target / "onnx" / "model.onnx", target / "config.json"]
    assert {file.read_text() for file in moved} == {"new"}
    assert (target / "plan.json").read_text() == "kept"
