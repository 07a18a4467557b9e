"""Page and card in their folder: made of its files alone, and never in the place of someone else's."""

from __future__ import annotations

import json

from fxprune.report.writing import write_report


def listed(folder) -> list[str]:
    return json.loads((folder / "fxprune.json").read_text())["files"]


def test_both_are_written_and_listed(make):
    folder = make()
    written = write_report(folder)
    assert [file.name for file in written.files] == ["report.html", "README.md"]
    assert written.left == ()
    assert {"report.html", "README.md", "plan.json"} <= set(listed(folder))


def test_a_second_time_changes_no_byte(make):
    folder = make()
    write_report(folder)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    write_report(folder)
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_files_of_someone_else_stay(make):
    folder = make()
    (folder / "README.md").write_text("mine")
    (folder / "report.html").write_text("mine too")
    written = write_report(folder)
    assert written.files == ()
    assert len(written.left) == 2
    assert (folder / "README.md").read_text() == "mine"
    assert "README.md" not in listed(folder)


def test_a_folder_without_a_model_gets_no_card(make):
    folder = make(dict.fromkeys(("model.safetensors", "student.pt2", "onnx/model.onnx")), hugging_face=None)
    written = write_report(folder)
    assert [file.name for file in written.files] == ["report.html"]
    assert written.left == ("README.md: not written, there is no model in the folder",)
