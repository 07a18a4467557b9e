"""Latency tables on disk: nothing is timed twice, and a damaged file is as good as none."""

from __future__ import annotations

from pathlib import Path

import pytest

from fxprune.latency import table as tables
from fxprune.latency.files import Files
from fxprune.latency.stopwatch import FileStopwatch
from fxprune.latency.table import Table
from fxprune.workload import Workload

AT = Workload(batch=1, length=16)


class NamedFiles(Files):
    """Files that say their widths."""

    def __init__(self) -> None:
        self.exports = 0

    def write(self, widths, path: Path) -> None:
        path.write_text(" ".join(map(str, widths)))

    def export(self, widths, path: Path) -> None:
        self.exports += 1
        self.write(widths, path)


def clock(paths):
    return {name: float(path.read_text().split()[0]) for name, path in paths.items()}


def test_times_are_kept(tmp_path: Path) -> None:
    table = Table.open("model", AT, tmp_path)
    table.written[4, 2], table.exported[4, 2] = 1.5, 1.75
    table.save()
    again = Table.open("model", AT, tmp_path)
    assert again.written == {(4, 2): 1.5}
    assert again.exported == {(4, 2): 1.75}


@pytest.mark.parametrize(
    "other",
    [
        ("other", AT),
        ("model", Workload(batch=2, length=16)),
        ("model", Workload(length=16, threads=2)),
        ("model", Workload(length=16, precision="int8")),
    ],
)
def test_another_model_or_shape_has_a_table_of_its_own(tmp_path: Path, other) -> None:
    table = Table.open("model", AT, tmp_path)
    table.written[1,] = 1.0
    table.save()
    assert Table.open(*other, tmp_path).written == {}


def test_another_machine_has_a_table_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table.open("model", AT, tmp_path)
    table.written[1,] = 1.0
    table.save()
    monkeypatch.setattr(tables, "cpu_name", lambda: "another")
    assert Table.open("model", AT, tmp_path).written == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 1}', "null", '{"written": [], "exported": []}'])
def test_a_damaged_file_counts_as_none(tmp_path: Path, text: str) -> None:
    table = Table.open("model", AT, tmp_path)
    table.written[1,] = 1.0
    table.save()
    (file,) = (tmp_path / "latency").iterdir()
    file.write_text(text)
    assert Table.open("model", AT, tmp_path).written == {}


def test_a_time_that_cannot_be_makes_a_file_damaged(tmp_path: Path) -> None:
    table = Table.open("model", AT, tmp_path)
    table.written[1,] = -1.0
    table.save()
    assert Table.open("model", AT, tmp_path).written == {}


def test_where_nothing_can_be_written_everything_goes_on(tmp_path: Path) -> None:
    (tmp_path / "latency").write_text("a file where the folder should be")
    table = Table.open("model", AT, tmp_path)
    table.written[1,] = 1.0
    table.save()
    assert Table.open("model", AT, tmp_path).written == {}


def test_nothing_is_timed_twice(tmp_path: Path) -> None:
    calls: list[int] = []

    def counting(paths):
        calls.append(len(paths))
        return clock(paths)

    files = NamedFiles()
    watch = FileStopwatch(files, Table.open("model", AT, tmp_path), counting)
    assert watch.quick([(3, 1), (5, 1), (3, 1)]) == {(3, 1): 3.0, (5, 1): 5.0}
    assert watch.real((3, 1)) == 3.0
    assert calls == [2, 1]
    again = FileStopwatch(files, Table.open("model", AT, tmp_path), counting)
    assert again.quick([(5, 1), (7, 1)]) == {(5, 1): 5.0, (7, 1): 7.0}
    assert again.real((3, 1)) == 3.0
    assert calls == [2, 1, 1]
    assert files.exports == 1


def test_the_folder_is_the_users_cache_unless_another_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FXPRUNE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tables.cache_folder() == tmp_path / "fxprune"
    monkeypatch.setenv("FXPRUNE_CACHE", str(tmp_path / "own"))
    assert tables.cache_folder() == tmp_path / "own"


@pytest.mark.parametrize(
    ("times", "took", "calls"), [([16.0, 10.5], 10.5, 2), ([16.0, 17.0], 16.0, 2), ([11.0], 11.0, 1)]
)
def test_a_file_far_slower_than_its_template_is_timed_twice(tmp_path: Path, times, took: float, calls: int) -> None:
    said = iter([10.0, *times])
    asked = []

    def disturbed(paths):
        asked.append(list(paths))
        return dict.fromkeys(paths, next(said))

    watch = FileStopwatch(NamedFiles(), Table.open("model", AT, tmp_path), disturbed)
    assert watch.quick([(4,)]) == {(4,): 10.0}
    assert watch.real((4,)) == took
    assert len(asked) == 1 + calls
