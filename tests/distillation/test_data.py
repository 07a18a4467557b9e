from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, IterableDataset

from fxprune import hub
from fxprune.distillation import data as data_module
from fxprune.distillation.data import text_dataset
from fxprune.errors import DataError

ROWS = [f"row number {i} says something" for i in range(200)]


def shared() -> Path:
    folder = Path(os.environ.get("FXPRUNE_SHARED", Path(__file__).parents[2].parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip("the shared data sets are not beside the repository (FXPRUNE_SHARED)")
    return folder


def parquet(path: Path, **columns: list[object]) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def texts(spec: str, **kwargs: object) -> list[str]:
    return list(text_dataset(spec, **kwargs)["text"])  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["parquet", "json", "jsonl", "txt"])
def test_every_kind_of_file_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"data.{kind}"
    if kind == "parquet":
        parquet(path, text=ROWS)
    elif kind == "txt":
        path.write_text("\n".join(ROWS))
    else:
        rows = [{"text": row, "id": i} for i, row in enumerate(ROWS)]
        path.write_text(json.dumps(rows) if kind == "json" else "\n".join(map(json.dumps, rows)))
    found = text_dataset(str(path))
    assert isinstance(found, Dataset)
    assert found.column_names == ["text"]
    assert sorted([*texts(str(path)), *texts(str(path), split="held_out")]) == sorted(ROWS)


def test_a_text_file_with_blank_lines_gives_paragraphs(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("one\ntwo\n\n\nthree\n")
    assert sorted(t.strip() for s in ("train", "held_out") for t in texts(str(path), split=s)) == ["one\ntwo", "three"]


def test_the_held_out_rows_depend_on_their_text_alone(tmp_path: Path) -> None:
    forward = parquet(tmp_path / "a.parquet", text=ROWS)
    backward = parquet(tmp_path / "b.parquet", text=ROWS[::-1])
    held_out = texts(forward, split="held_out")
    assert len(held_out) == 4
    assert set(held_out) == set(texts(backward, split="held_out", seed=3))
    assert not set(held_out) & set(texts(forward))


def test_the_seed_orders_the_training_rows(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", text=ROWS)
    assert texts(path, seed=1) == texts(path, seed=1) != texts(path, seed=2)


def test_a_validation_file_is_held_out(tmp_path: Path) -> None:
    parquet(tmp_path / "train.parquet", text=ROWS)
    parquet(tmp_path / "validation.parquet", text=["other"])
    assert texts(str(tmp_path), split="held_out") == ["other"]
    assert sorted(texts(str(tmp_path))) == sorted(ROWS)


@pytest.mark.parametrize(
    ("columns", "asked", "expected"),
    [
        ({"title": ["t"], "text": ["x"]}, None, "x"),
        ({"title": ["t"], "sentence": ["x"], "label": [1]}, None, "x"),
        ({"body": ["x"], "label": [1]}, None, "x"),
        ({"question": ["t"], "answer": ["x"]}, "answer", "x"),
    ],
)
def test_the_text_column_is_found(tmp_path: Path, columns: dict[str, list[object]], asked: str, expected: str) -> None:
    assert texts(parquet(tmp_path / "a.parquet", **columns), text_column=asked) == [expected]


def test_a_table_without_text_column_lists_its_columns(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", question=["a"], answer=["b"], label=[1])
    with pytest.raises(DataError, match=r"no text column\n.*columns are question, answer, label\n.*question, answer"):
        text_dataset(path)
    with pytest.raises(DataError, match="unknown text column 'anwser'; did you mean 'answer'"):
        text_dataset(path, text_column="anwser")
    with pytest.raises(DataError, match="no text column"):
        text_dataset(parquet(tmp_path / "b.parquet", label=[1]))


def test_empty_data_is_refused(tmp_path: Path) -> None:
    for number, rows in enumerate([[], ["", "  ", None]]):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"text": pa.array(rows, pa.string())}), path)
        with pytest.raises(DataError, match="is empty"):
            text_dataset(str(path))
    (tmp_path / "empty.txt").touch()
    with pytest.raises(DataError, match="is empty"):
        text_dataset(str(tmp_path / "empty.txt"))


def test_one_row_cannot_be_held_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has one row"):
        text_dataset(parquet(tmp_path / "a.parquet", text=["x"]), split="held_out")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.parquet", b"PAR1 broken"),
        ("a.parquet", b""),
        ("a.jsonl", b'{"text": "x"}\n{"te'),
        ("a.txt", b"\xff\xfe\xfa"),
    ],
)
def test_a_broken_file_is_refused_in_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read\n  cause .*\n  remedy .*whole and unchanged$"):
        text_dataset(str(tmp_path / name))


def test_of_several_files_the_broken_one_is_named(tmp_path: Path) -> None:
    texts = [f"row {i} of a file that is long enough to have a middle" for i in range(3000)]
    for i in range(3):
        pq.write_table(pa.table({"text": texts}), tmp_path / f"train-{i}.parquet", row_group_size=500)
    path = tmp_path / "train-1.parquet"
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(500) + content[middle + 500 :])
    with pytest.raises(DataError, match=r"cannot be read\n  cause .*train-1\.parquet: "):
        text_dataset(str(tmp_path))


def test_without_network_a_hub_name_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_answers", lambda host: False)
    with pytest.raises(DataError, match=r"neither a file nor a folder, and there is no network\n.*--dataset demo"):
        text_dataset("owner/name")
    with pytest.raises(DataError, match="there is no file or folder"):
        text_dataset("some/where/else")


def test_large_files_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "a.parquet", body=[*ROWS, "", None])
    monkeypatch.setattr(data_module, "IN_MEMORY", 10)
    train, held_out = text_dataset(path), text_dataset(path, split="held_out")
    assert isinstance(train, IterableDataset)
    rows = [[row["text"] for row in data] for data in (train, held_out)]
    assert sorted(rows[0] + rows[1]) == sorted(ROWS)
    assert 0 < len(rows[1]) < 20


def test_the_demo_corpus_is_a_data_set() -> None:
    assert text_dataset("demo", split="held_out").column_names == ["text"]


def test_shared_data_sets_are_read() -> None:
    wikipedia = text_dataset(str(shared() / "wikipedia_en"), split="held_out")
    assert len(wikipedia) == 514
    assert len(text_dataset(str(shared() / "wikitext2"), split="held_out")) == 2461
    assert len(text_dataset(str(shared() / "sentence_polarity"))) == 9662
