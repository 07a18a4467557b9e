"""What a run leaves behind: every form it can be written in, and the reason for each it cannot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch.export import Dim

import fxprune
from fxprune.deploy import hf, onnx
from fxprune.deploy.generation import quantising
from fxprune.deploy.grids import LatencySettings, within
from fxprune.deploy.manifest import read_manifest, remove_old, write_manifest
from fxprune.deploy.output_folder import begin_outputs, check_output
from fxprune.deploy.outputs import write_outputs
from fxprune.errors import DeployError, UsageError
from fxprune.traced import Provenance

ALL = ["README.md", "config.json", "latency.json", "metrics.jsonl", "model.safetensors", "onnx/model.onnx", "plan.json"]
ALL += ["report.html", "student.pt2"]
QUICK = LatencySettings(grid=((1, 8),), rounds=1, seconds=0.1)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def written(slim_bert, all_tiny, tmp_path_factory):
    """A whole output folder, and what was said of it."""
    slim, inputs = slim_bert
    folder, stages = tmp_path_factory.mktemp("outputs") / "out", []
    teacher = fxprune.capture(all_tiny[0].build(), inputs)
    metrics = begin_outputs(folder, {"seed": 7})
    metrics.write_text("{}\n")
    options = {"teacher": teacher, "latency": QUICK, "files": [metrics], "on_stage": stages.append}
    return write_outputs(slim, folder, facts={"seed": 7}, **options), stages


def test_every_form_is_written_and_listed(written):
    outputs, stages = written
    assert not outputs.failures
    assert files(outputs.folder) == sorted([*ALL, "fxprune.json"])
    assert sorted(path.relative_to(outputs.folder).as_posix() for path in outputs.files) == files(outputs.folder)
    listed = read_manifest(outputs.folder)
    assert listed["files"] == ALL
    assert (listed["seed"], listed["failures"]) == (7, {})
    assert stages[0] == "plan"
    assert "latency" in stages


GRAPHS = {f"onnx/{name}.onnx" for name in ("model", "model.int8", "decoder_with_past", "decoder_with_past.int8")}


def slim_decoder():
    from generating import build
    from zoo import LIBRARY

    return fxprune.prune(build("llama"), LIBRARY["llama"].inputs(5, 13), ratio=0.5)


@pytest.mark.slow
@pytest.mark.captures
def test_a_decoder_has_int8_with_and_without_a_cache(tmp_path):
    outputs = write_outputs(slim_decoder(), tmp_path / "out", int8=True)
    assert not outputs.failures
    assert set(files(outputs.folder)) > GRAPHS
    assert set(read_manifest(outputs.folder)["files"]) > GRAPHS
    assert outputs.generation.int8_agreement.top1 > 0.8
    assert "in int8 too" in (outputs.folder / "report.html").read_text()


@pytest.mark.slow
def test_the_cache_stays_where_its_int8_fails(tmp_path, monkeypatch):
    def refuse(*_):
        raise DeployError("no graph can be quantised")

    monkeypatch.setattr(quantising, "quantise", refuse)
    outputs = write_outputs(slim_decoder(), tmp_path / "out", int8=True)
    assert set(outputs.failures) == {"int8 with a cache"}
    assert GRAPHS - set(files(outputs.folder)) == {"onnx/decoder_with_past.int8.onnx"}
    assert outputs.generation.max_error <= 1e-4


def test_the_forms_are_the_same_model(written):
    outputs, _ = written
    assert outputs.hf is not None
    assert outputs.onnx is not None
    assert max(outputs.hf.max_error, outputs.onnx.max_error) <= 1e-5
    assert outputs.hf.proved


def test_teacher_and_student_are_timed_beside_one_another(written):
    outputs, _ = written
    assert [(row.model, row.batch, row.length) for row in outputs.latency] == [("teacher", 1, 8), ("student", 1, 8)]
    assert [row["model"] for row in json.loads((outputs.folder / "latency.json").read_text())] == ["teacher", "student"]
    assert outputs.onnx_bytes["teacher"] > outputs.onnx_bytes["student"] > 1000


def test_fused_operators_of_both_are_written_down(written):
    outputs, _ = written
    listed = read_manifest(outputs.folder)
    assert listed["onnx"]["fused"] == listed["onnx_teacher"]["fused"] == dict(outputs.onnx.fused)
    assert listed["onnx"]["fused"]["Attention"] == 2
    assert listed["onnx"]["nodes"] == outputs.onnx.nodes > 10
    assert (listed["lost_fusions"], outputs.lost_fusions) == ([], ())


def test_what_the_run_wrote_before_is_kept(written):
    outputs, _ = written
    assert (outputs.folder / "metrics.jsonl").read_text() == "{}\n"
    assert "unfinished" not in read_manifest(outputs.folder)


def test_a_run_that_begins_takes_the_folder_over(tmp_path):
    write_manifest(tmp_path, [tmp_path / "old.txt"], {})
    for name in ("old.txt", "mine.txt"):
        (tmp_path / name).write_text("")
    assert begin_outputs(tmp_path, {"command": "distill"}) == tmp_path / "metrics.jsonl"
    assert files(tmp_path) == ["fxprune.json", "mine.txt"]
    assert read_manifest(tmp_path)["unfinished"]["reason"] == "the run goes on, or was killed"


def test_a_form_that_fails_costs_only_itself(slim_bert, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise DeployError("no config expresses it")

    monkeypatch.setattr(hf, "save_hf", refuse)
    monkeypatch.setattr(onnx, "export_exported", refuse)
    outputs = write_outputs(slim_bert[0], tmp_path, latency=QUICK)
    assert (outputs.hf, outputs.onnx, outputs.latency) == (None, None, ())
    assert list(outputs.failures) == ["Hugging Face model", "ONNX"]
    assert files(tmp_path) == ["README.md", "fxprune.json", "plan.json", "report.html", "student.pt2"]
    assert isinstance(read_manifest(tmp_path)["failures"], Mapping)


def test_the_files_of_an_earlier_run_go_and_all_others_stay(slim_bert, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "export_exported", lambda *_, **__: (_ for _ in ()).throw(DeployError("not today")))
    for name in ("latency.json", "notes.txt"):
        (tmp_path / name).write_text("old")
    write_manifest(tmp_path, [tmp_path / "latency.json"], {})
    write_outputs(slim_bert[0], tmp_path)
    assert "latency.json" not in files(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "old"


def test_a_card_of_someone_else_stays_and_is_told(slim_bert, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "export_exported", lambda *_, **__: (_ for _ in ()).throw(DeployError("not today")))
    (tmp_path / "README.md").write_text("mine")
    for _ in range(2):
        outputs = write_outputs(slim_bert[0], tmp_path)
        assert (tmp_path / "README.md").read_text() == "mine"
        assert outputs.left == (f"{tmp_path / 'README.md'} is not of a run, and stays as it is",)
        assert "report.html" in read_manifest(tmp_path)["files"]
        assert "README.md" not in read_manifest(tmp_path)["files"]


def test_lengths_a_model_cannot_take_are_shortened():
    ids = {0: Dim("batch"), 1: Dim("length", max=20)}
    slim = SimpleNamespace(provenance=Provenance(dynamic={"input_ids": ids, "pixel_values": {0: Dim("batch")}}))
    assert within(((1, 8), (1, 64), (2, 128)), slim) == [(1, 8), (1, 20), (2, 20)]
    assert within(((1, 64), (1, 128)), slim) == [(1, 20)]
    free = SimpleNamespace(provenance=Provenance(dynamic={"x": {0: Dim("batch"), 1: Dim("length")}}))
    assert within(((1, 512),), free) == [(1, 512)]


def test_a_list_never_reaches_outside_its_folder(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    folder = tmp_path / "out"
    folder.mkdir()
    data = {"format": "fxprune output", "files": ["../precious.txt", "gone.txt"]}
    (folder / "fxprune.json").write_text(json.dumps(data))
    remove_old(folder)
    assert (tmp_path / "precious.txt").exists()
    assert files(folder) == []


def test_what_is_no_list_is_ignored(tmp_path):
    for text in ("nonsense", "[]", "{}"):
        (tmp_path / "fxprune.json").write_text(text)
        assert read_manifest(tmp_path) == {}


def test_an_output_folder_must_be_empty_or_given_up(tmp_path):
    check_output(tmp_path, overwrite=False)
    check_output(tmp_path / "new" / "deep", overwrite=False)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty") as refusal:
        check_output(tmp_path, overwrite=False)
    assert "--overwrite" in refusal.value.remedy
    check_output(tmp_path, overwrite=True)
    with pytest.raises(UsageError, match="is a file"):
        check_output(tmp_path / "notes.txt", overwrite=True)
    with pytest.raises(UsageError, match="cannot be written"):
        check_output(tmp_path / "notes.txt" / "deep", overwrite=True)
    assert files(tmp_path) == ["notes.txt"]


def test_the_folder_of_the_model_is_never_written_to(tmp_path):
    with pytest.raises(UsageError, match="is the folder of the model itself"):
        check_output(tmp_path, overwrite=True, source=str(tmp_path / "x" / ".."))
