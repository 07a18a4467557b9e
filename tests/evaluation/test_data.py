"""Task folders: where splits are found, and one sentence for each that cannot be used."""

from __future__ import annotations

import json

import datasets
import pyarrow as pa
import pytest
from evaluating import write_split, write_task

from fxprune import hub
from fxprune.errors import DataError
from fxprune.evaluation.data import read_splits, sample
from fxprune.evaluation.tasks import TASKS

SST2, SQUAD, STSB = TASKS["sst2"], TASKS["squad"], TASKS["stsb"]
ROWS = [{"sentence": f"w{i}", "label": i % 2} for i in range(6)]
ANSWERED = {"question": "who ?", "context": "Ann w1", "answers": {"text": ["Ann"], "answer_start": [0]}}
UNANSWERED = {**ANSWERED, "answers": {"text": [], "answer_start": []}}


def refusal(task, folder, *, train=True):
    with pytest.raises(DataError) as error:
        read_splits(task, folder, train=train)
    assert error.value.remedy
    assert "\n" not in error.value.message
    return error.value


def both(folder, rows, held_out=None):
    write_split(folder, "train", rows)
    write_split(folder, "validation", rows if held_out is None else held_out)
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_every_task_reads_its_own_folder(tmp_path, task):
    write_task(tmp_path / task, task, train=6, held_out=3)
    for folder in (tmp_path, tmp_path / task):
        found = read_splits(TASKS[task], folder, train=TASKS[task].trains)
        assert list(found) == [*(["train"] if TASKS[task].trains else []), *TASKS[task].held_out]
        for rows in found.values():
            assert rows.column_names == [*TASKS[task].texts, TASKS[task].label[0]]


def test_similarity_finds_the_folder_of_stsb_and_takes_scores_for_labels(tmp_path):
    write_split(tmp_path / "stsb", "validation", [{"sentence1": "a", "sentence2": "b", "score": 0.5}])
    rows = read_splits(TASKS["text-similarity"], tmp_path, train=False)["validation"]
    assert rows["label"].to_pylist() == [0.5]


def test_json_lines_csv_and_shards_are_read(tmp_path):
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "validation.csv").write_text('sentence,label\n"w1, w2",0\n"two\nlines",1\nnull,1\n')
    found = read_splits(SST2, tmp_path, train=True)
    assert found["train"].to_pylist() == ROWS
    assert found["validation"]["sentence"].to_pylist() == ["w1, w2", "two\nlines", "null"]
    (tmp_path / "train.jsonl").unlink()
    for i in range(2):
        write_split(tmp_path, f"train-0000{i}-of-00002", ROWS[3 * i : 3 * i + 3])
    assert read_splits(SST2, tmp_path, train=True)["train"].to_pylist() == ROWS


def test_a_missing_folder_or_split_is_named_beside_what_was_found(tmp_path):
    assert "there is no folder" in refusal(SST2, tmp_path / "none").message
    empty = refusal(SST2, tmp_path)
    assert empty.message == f"task 'sst2' has no split 'train' and no split 'validation' in '{tmp_path}'"
    assert empty.cause == "the folder is empty"
    write_split(tmp_path / "sst2", "train", ROWS)
    one = refusal(SST2, tmp_path)
    assert one.message == f"task 'sst2' has no split 'validation' in '{tmp_path / 'sst2'}'"
    assert one.cause == "it holds train.parquet"
    assert one.remedy == "put validation.parquet there"
    mnli = refusal(TASKS["mnli"], both(tmp_path / "mnli", ROWS), train=False)
    assert "no split 'validation_matched' and no split 'validation_mismatched'" in mnli.message


def test_missing_columns_are_named_beside_those_there_are(tmp_path):
    error = refusal(TASKS["qnli"], both(tmp_path, ROWS))
    assert error.message == f"'{tmp_path}/train.parquet' has no column 'question', which task 'qnli' needs"
    assert error.cause == "its columns are sentence, label"
    assert "no column 'question' and no column 'context' and no column 'answers'" in refusal(SQUAD, tmp_path).message


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"sentence": 3, "label": 1}], "the column 'sentence' of .* holds int64, not text"),
        ([{"sentence": "w1", "label": "good"}], "the labels of .* are string"),
        ([{"sentence": "w1", "label": 0.5}], "the labels of .* are double"),
        ([{"sentence": "w1", "label": -1}, {"sentence": "w1", "label": 1}], "the labels of .* run from -1 to 1"),
        ([{"sentence": "w1", "label": 2}], "the labels of .* run from 2 to 2"),
        ([{"sentence": "w1", "label": 1}, {"sentence": None, "label": 1}], "has no value for 'sentence' in row 2"),
        ([{"sentence": "w1", "label": None}, {"sentence": "w1", "label": 1}], "has no value for 'label' in row 1"),
    ],
)
def test_values_no_model_can_use_are_refused_before_training(tmp_path, rows, said):
    both(tmp_path, ROWS, rows)
    with pytest.raises(DataError, match=said):
        read_splits(SST2, tmp_path, train=True)


def test_a_split_without_rows_is_refused(tmp_path):
    write_split(tmp_path, "validation", ROWS)
    schema = pa.schema({"sentence": pa.string(), "label": pa.int64()})
    pa.parquet.write_table(schema.empty_table(), tmp_path / "train.parquet")
    assert "has no rows" in refusal(SST2, tmp_path).message


def test_a_number_may_be_whole_and_must_be_a_number(tmp_path):
    pair = {"sentence1": "a", "sentence2": "b"}
    found = read_splits(STSB, both(tmp_path / "a", [{**pair, "label": 4}]), train=True)
    assert found["train"]["label"].to_pylist() == [4]
    assert refusal(STSB, both(tmp_path / "b", [{**pair, "label": "4"}])).remedy == "task 'stsb' needs numbers"
    nan = refusal(STSB, both(tmp_path / "c", [{**pair, "label": float("nan")}]))
    assert nan.message == f"the label of row 1 of '{tmp_path}/c/train.parquet' is nan"


def test_answers_need_their_shape_and_squad_needs_an_answer_to_every_question(tmp_path):
    assert "holds string" in refusal(SQUAD, both(tmp_path / "a", [{**ANSWERED, "answers": "Ann"}])).message
    mixed = both(tmp_path / "b", [ANSWERED, UNANSWERED, UNANSWERED])
    error = refusal(SQUAD, mixed)
    assert "2 questions of" in error.message
    assert error.remedy == "--task squad_v2 is the one with such questions"
    assert read_splits(TASKS["squad_v2"], mixed, train=True)["train"].num_rows == 3
    assert read_splits(TASKS["squad_v2"], both(tmp_path / "c", [UNANSWERED]), train=True)["train"].num_rows == 1


def test_a_damaged_file_is_named(tmp_path):
    both(tmp_path, ROWS)
    (tmp_path / "validation.parquet").write_bytes(b"PAR1 nonsense")
    assert f"'{tmp_path}/validation.parquet' cannot be read" in refusal(SST2, tmp_path).message


def test_a_sample_is_the_same_at_every_call_and_keeps_the_order():
    rows = pa.table({"n": list(range(1000))})
    assert sample(rows, None) is rows
    assert sample(rows, 2000) is rows
    chosen = sample(rows, 50)["n"].to_pylist()
    assert chosen == sample(rows, 50)["n"].to_pylist() == sorted(set(chosen))
    assert 350 < sum(chosen) / 50 < 650  # from all over, not the first ones


def test_the_hub_is_asked_for_the_splits_of_the_task(monkeypatch):
    asked = []

    def load_dataset(name, config, split):
        asked.append((name, config, split))
        return datasets.Dataset.from_list(ROWS + ROWS)

    monkeypatch.setattr(hub, "_answers", lambda host: True)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    found = read_splits(SST2, None, train=True)
    assert asked == [("nyu-mll/glue", "sst2", "train"), ("nyu-mll/glue", "sst2", "validation")]
    assert found["train"].to_pylist() == ROWS + ROWS


def test_without_a_network_the_folder_is_the_remedy(monkeypatch):
    monkeypatch.setattr(hub, "_answers", lambda host: False)
    error = refusal(SQUAD, None)
    assert error.message == "the data of task 'squad' is on the hub (rajpurkar/squad), and there is no network"
    assert error.remedy == "connect to the network, or pass --data with a folder of parquet files"


def test_what_the_hub_answers_is_told(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(hub, "_answers", lambda host: True)
    monkeypatch.setattr(datasets, "load_dataset", refuse)
    assert refusal(SQUAD, None).cause == "ConnectionError: no route"
