"""Reading an output folder: what is damaged is left out and told."""

from __future__ import annotations

import json

import pytest
from reporting import FACTS, STEPS, WIDTHS, step

from fxprune.errors import SourceError
from fxprune.report.cleaning import cleaned, number, whole
from fxprune.report.reading import Width, read_results


def test_all_files_are_read(make):
    results = read_results(make())
    assert results.widths[1] == Width(name="layer.0.inner", dense=64, kept=20)
    assert len(results.widths) == len(WIDTHS)
    assert [row["step"] for row in results.steps] == list(range(1, 41))
    assert [row["model"] for row in results.latency] == ["teacher", "student"]
    assert results.certificate["holds"] is True
    assert results.sizes["model.safetensors"] == 4000
    assert results.part("losses", "teacher") == {"task": 2.0}
    assert results.part("losses", "nobody") == results.part("model") == {}
    assert results.gaps == ()


def test_damaged_lines_are_skipped_and_counted(make):
    lines = [json.dumps(row) for row in STEPS]
    lines[3], lines[7] = lines[3][:20], "[1, 2]"
    again = json.dumps(step(9, params=1))
    results = read_results(make({"metrics.jsonl": "\n".join([*lines, again, "", '{"step": "x"}', "\x00"])}))
    assert results.gaps == ("4 damaged lines of metrics.jsonl left out",)
    assert [row["step"] for row in results.steps] == [n for n in range(1, 41) if n not in (4, 8)]
    assert next(row for row in results.steps if row["step"] == 9)["params"] == 1


@pytest.mark.parametrize("name", ["plan.json", "latency.json", "certificate.json"])
def test_a_damaged_file_is_a_gap(make, name):
    results = read_results(make({name: '{"half": '}))
    assert len(results.gaps) == 1
    assert results.gaps[0].startswith(f"{name} cannot be read: ")


def test_files_outside_are_not_looked_at(make):
    folder = make()
    (folder.parent / "secret").write_text("x")
    data = json.loads((folder / "fxprune.json").read_text())
    data["files"] += ["../secret", "gone.txt"]
    (folder / "fxprune.json").write_text(json.dumps(data))
    assert not {"../secret", "gone.txt"} & set(read_results(folder).sizes)


def test_snapshots_are_read_and_those_that_are_gone_are_not(make):
    folder = make(snapshots=["runs/out/50pct", "runs/out/25pct"])
    (folder / "50pct").mkdir()
    member = {"format": "fxprune output", "parameters": 2_000_000, "step": 20}
    (folder / "50pct" / "fxprune.json").write_text(json.dumps(member))
    results = read_results(folder)
    assert results.members == {"50pct": member}
    assert results.gaps == ()


def test_a_folder_of_someone_else_is_refused(tmp_path):
    with pytest.raises(SourceError, match="is no output folder of fxprune") as refusal:
        read_results(tmp_path / "nowhere")
    assert refusal.value.cause == "there is no such folder"
    with pytest.raises(SourceError, match="is no output folder of fxprune") as refusal:
        read_results(tmp_path)
    assert "there is no fxprune.json in it" in str(refusal.value)


@pytest.mark.parametrize(
    "text", ['{"format": ', "[]", '{"format": "other"}', "[" * 100_000, "\ud800".encode("utf-8", "surrogatepass")]
)
def test_a_damaged_list_is_refused(tmp_path, text):
    (tmp_path / "fxprune.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SourceError, match=r"fxprune.json' is (damaged|not what fxprune writes)"):
        read_results(tmp_path)


def test_numbers_are_numbers():
    assert [number(x) for x in (1, 2.5, True, "3", None, float("nan"), float("inf"), 10**400)] == [1, 2.5] + [None] * 6
    assert [whole(x) for x in (3, 3.9, -1, "3")] == [3, 3, None, None]


def test_texts_lose_what_cannot_be_seen():
    assert cleaned({"a\x1b[31m": ["x\u202ey\u0000z\ud800\u200b", 1, None]}) == {"a[31m": ["xyz", 1, None]}
    assert cleaned("two\nlines") == "two\nlines"
    assert len(cleaned("x" * 10**6)) < 5000
    assert cleaned(FACTS) == FACTS
