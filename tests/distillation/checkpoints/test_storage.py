"""A checkpoint on disk is whole, or refused with what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fxprune.atomic import remove_left_overs
from fxprune.distillation.checkpoints import storage
from fxprune.distillation.checkpoints.saved import Saved
from fxprune.errors import CheckpointError


@pytest.fixture
def written(tmp_path: Path) -> Path:
    content = storage.Content(
        step=12,
        identity={"model": "a"},
        weights={"w": torch.arange(6.0).view(2, 3).T},
        plan="{}",
        common=Saved({"n": 1}, {"part/x": torch.zeros(2)}),
        own=(Saved({"rank": 0}), Saved({"rank": 1}, {"r": torch.ones(1)})),
        history="a line\n",
        journal="",
    )
    return storage.write(tmp_path, content)


def test_it_is_read_back(written: Path) -> None:
    assert written.name == "step-12"
    content = storage.read(written)
    assert (content.step, content.identity, content.plan, content.history) == (12, {"model": "a"}, "{}", "a line\n")
    assert torch.equal(content.weights["w"], torch.arange(6.0).view(2, 3).T)
    assert content.common.data == {"n": 1}
    assert torch.equal(content.common.tensors["part/x"], torch.zeros(2))
    assert [part.data["rank"] for part in content.own] == [0, 1]


def manifest(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        data = json.loads((path / "manifest.json").read_text())
        change(data)
        (path / "manifest.json").write_text(json.dumps(data))

    return apply


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file is cut off": (lambda p: (p / "student.safetensors").write_bytes(b"x"), "has another size"),
    "a bit is another": (lambda p: (p / "metrics.jsonl").write_text("b line\n"), "its checksum differs"),
    "a file is gone": (lambda p: (p / "plan.json").unlink(), "plan.json is missing"),
    "a file is a link": (
        lambda p: ((p / "plan.json").rename(p / "other"), (p / "plan.json").symlink_to(p / "other")),
        "plan.json is missing",
    ),
    "the manifest is gone": (lambda p: (p / "manifest.json").unlink(), "No such file"),
    "the manifest is no JSON": (lambda p: (p / "manifest.json").write_text("{"), "JSONDecodeError"),
    "the manifest is deep": (lambda p: (p / "manifest.json").write_text("[" * 200_000), "RecursionError"),
    "the manifest is a list": (lambda p: (p / "manifest.json").write_text("[]"), "none of a checkpoint"),
    "the manifest is long": (lambda p: (p / "manifest.json").write_text(" " * (1 << 21)), "too long"),
    "another format": (manifest(lambda d: d.update(format="plan")), "none of a checkpoint"),
    "another version": (manifest(lambda d: d.update(version=2)), "it has version 2, and this fxprune reads 1"),
    "another step": (manifest(lambda d: d.update(step=13)), "it was written after step 13"),
    "no step": (manifest(lambda d: d.update(step="12")), "step is '12'"),
    "fewer processes": (manifest(lambda d: d.update(processes=1)), "should not name 'process-1.json'"),
    "many processes": (manifest(lambda d: d.update(processes=1 << 40)), "processes is"),
    "a name outside": (manifest(lambda d: d["files"].update({"../x": {}})), "should not name '../x'"),
    "a name less": (manifest(lambda d: d["files"].pop("plan.json")), "should name 'plan.json'"),
    "a size that is none": (manifest(lambda d: d["files"]["plan.json"].update(bytes=-1)), "bytes is -1"),
    "a sum that is none": (manifest(lambda d: d["files"]["plan.json"].update(sha256=None)), "sha256 is None"),
    "files that are none": (manifest(lambda d: d.update(files=[])), r"files is \[\]"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told(name: str, written: Path) -> None:
    damage, cause = DAMAGE[name]
    damage(written)
    with pytest.raises(CheckpointError, match=cause):
        storage.read(written)


def test_only_checkpoints_are_found_the_newest_first(written: Path) -> None:
    root = written.parent
    for name in ("step-2", "step-100", "step-03", "step-0", "step-", "steps-1", ".step-4.0123abcd"):
        (root / name).mkdir()
    assert [path.name for path in storage.found_in(root)] == ["step-100", "step-12", "step-2"]
    storage.remove(root / "step-100")
    assert [path.name for path in storage.found_in(root)] == ["step-12", "step-2"]
    assert storage.found_in(root / "nowhere") == []


def test_what_a_killed_process_has_left_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    left = [".plan.0123abcd.json", "checkpoints/.step-4.0123abcd", ".hf-abc_1234", "30M/onnx/.model.00000000.onnx"]
    stays = [".gitignore", ".config.json", "plan.json", ".plan.0123abc.json", "a/b/c/.plan.0123abcd.json"]
    for name in (*left, *stays):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / left[1]).unlink()
    (tmp_path / left[1]).mkdir()
    remove_left_overs(tmp_path)
    assert not any((tmp_path / name).exists() for name in left)
    assert all((tmp_path / name).exists() for name in stays)
    remove_left_overs(tmp_path / "nowhere")
