"""Whatever stands in a journal, a history or a checkpoint: it is read, or refused with one kind of error."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from keeping import FAST, Kept
from mangling import HUGE, JSON, MANY, places, put
from models import ALL
from remembering import remembered
from text import tokenizer, write_jsonl

from fxprune.distillation.checkpoints import storage
from fxprune.distillation.checkpoints.history import history_from
from fxprune.distillation.checkpoints.journal import cuts_from
from fxprune.distillation.checkpoints.order import ORDER, read_order
from fxprune.distillation.checkpoints.saved import Saved
from fxprune.distillation.checkpoints.state import common, own, restore_common, restore_own
from fxprune.distillation.config import DistillConfig
from fxprune.distillation.course import Run
from fxprune.distillation.run import prepare
from fxprune.errors import CheckpointError, PlanError
from fxprune.plan import Plan

STEP = 8


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A run that was stopped between two cuts."""
    folder = tmp_path_factory.mktemp("kept")
    found = Kept(folder / "out", write_jsonl(folder))
    found.stopped(STEP)
    return found


@pytest.fixture(scope="module")
def content(kept: Kept) -> storage.Content:
    """Its checkpoint."""
    return storage.read(kept.folder / "checkpoints" / f"step-{STEP}")


@pytest.fixture(scope="module")
def run(kept: Kept, content: storage.Content) -> Run:
    """The same run where the checkpoint is."""
    torch.manual_seed(0)
    with remembered():
        fresh = prepare(ALL["bert"].build().float().eval(), tokenizer(), kept.dataset, DistillConfig(**FAST))
    restore_common(fresh, content.common, Plan.from_json(content.plan), content.weights)
    restore_own(fresh, content.own[0])
    return fresh


# ---------------------------------------------------------------------- lines


@pytest.mark.parametrize("read", [cuts_from, history_from])
@MANY
@given(text=st.text())
def test_any_text_is_read_or_refused(read: Any, text: str) -> None:
    with suppress(CheckpointError):
        read(text)


@pytest.mark.parametrize("name", ["journal", "history"])
@MANY
@given(data=st.data())
def test_a_line_with_something_else_in_one_place_is_read_or_refused(
    name: str, content: storage.Content, data: Any
) -> None:
    lines = getattr(content, name).splitlines()
    assert lines
    number = data.draw(st.integers(0, len(lines) - 1))
    row = json.loads(lines[number])
    lines[number] = json.dumps(put(row, data.draw(st.sampled_from(places(row))), data.draw(JSON)))
    with suppress(CheckpointError):
        (cuts_from if name == "journal" else history_from)("\n".join(lines))


@pytest.mark.parametrize("name", ["ratio", "discrepancy", "tokens_per_second"])
def test_a_number_no_float_holds_is_refused(name: str, content: storage.Content) -> None:
    row = json.loads(content.history.splitlines()[0]) | {name: HUGE}
    with pytest.raises(CheckpointError, match=r"does not fit the run: history/1"):
        history_from(json.dumps(row))
    cut = json.loads(content.journal.splitlines()[0]) | {"jump": [0.0, HUGE]}
    with pytest.raises(CheckpointError, match=r"does not fit the run: journal/1"):
        cuts_from(json.dumps(cut))


# ---------------------------------------------------------------------- files


@MANY
@given(data=st.data())
def test_a_checkpoint_with_a_damaged_file_is_refused(tmp_path: Path, content: storage.Content, data: Any) -> None:
    """Cut off, or with other bytes; where its checksum was made to fit, what is in it may still be read."""
    path = storage.write(tmp_path, content)
    file = data.draw(st.sampled_from(sorted(path.iterdir())))
    old = file.read_bytes()
    start = data.draw(st.integers(0, max(0, len(old) - 1)))
    new = old[:start] + data.draw(st.binary(max_size=12)) + data.draw(st.sampled_from([b"", old[start + 1 :]]))
    file.write_bytes(new)
    if new != old and file.name != storage.MANIFEST:
        with pytest.raises(CheckpointError, match=r"is damaged"):
            storage.read(path)
    manifest = path / storage.MANIFEST
    if file != manifest:
        known = json.loads(manifest.read_text())
        known["files"][file.name] = {"bytes": len(new), "sha256": hashlib.sha256(new).hexdigest()}
        manifest.write_text(json.dumps(known))
    with suppress(CheckpointError):
        storage.read(path)


@MANY
@given(data=st.data())
def test_an_order_with_something_else_in_one_place_is_read_or_refused(tmp_path: Path, data: Any) -> None:
    from fxprune.distillation.checkpoints.order import Order

    whole = Order(model="demo", dataset="demo", config=DistillConfig(**FAST)).to_data()
    whole = json.loads(json.dumps(whole))
    file = tmp_path / "checkpoints" / ORDER
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(put(whole, data.draw(st.sampled_from(places(whole))), data.draw(JSON))))
    with suppress(CheckpointError):
        read_order(tmp_path)


# ---------------------------------------------------------------------- state


@MANY
@given(data=st.data())
def test_a_state_with_something_else_in_one_place_is_taken_or_refused(
    run: Run, content: storage.Content, data: Any
) -> None:
    part = data.draw(st.sampled_from(["common", "own"]))
    whole = content.common if part == "common" else content.own[0]
    place = data.draw(st.sampled_from(places(whole.data)))
    other = put(whole.data, place, data.draw(JSON))
    if isinstance(other, dict):
        _restore(run, part, replace(whole, data=other), content)


@MANY
@given(data=st.data())
def test_a_state_with_another_tensor_is_taken_or_refused(run: Run, content: storage.Content, data: Any) -> None:
    part = data.draw(st.sampled_from(["common", "own"]))
    whole = content.common if part == "common" else content.own[0]
    name = data.draw(st.sampled_from(sorted(whole.tensors)))
    shape = data.draw(st.lists(st.integers(0, 3), max_size=3))
    kind = data.draw(st.sampled_from([torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool]))
    tensors = {**whole.tensors, name: torch.ones(shape, dtype=kind)}
    if data.draw(st.booleans()):
        del tensors[name]
    _restore(run, part, replace(whole, tensors=tensors), content)


def test_a_position_no_run_comes_to_is_refused_at_once(run: Run, content: storage.Content) -> None:
    far = replace(content.common, data=put(content.common.data, ("stream", "drawn"), 10**12))
    with pytest.raises(CheckpointError, match=r"stream.*\n.*drawn is 1000000000000"):
        restore_common(run, far, Plan.from_json(content.plan), content.weights)


def test_what_was_written_still_fits(run: Run, content: storage.Content) -> None:
    """After all that: what is refused leaves nothing behind that another restore would not replace."""
    restore_common(run, content.common, Plan.from_json(content.plan), content.weights)
    restore_own(run, content.own[0])
    again, mine = common(run), own(run)
    assert again.data.keys() <= content.common.data.keys()
    assert again.data["cutter"] == content.common.data["cutter"]
    for found, saved in ((again, content.common), (mine, content.own[0])):
        assert found.tensors.keys() == saved.tensors.keys()
        assert all(torch.equal(found.tensors[name], saved.tensors[name]) for name in saved.tensors)


def _restore(run: Run, part: str, saved: Saved, content: storage.Content) -> None:
    plan = Plan.from_json(content.plan)
    with suppress(CheckpointError, PlanError):
        if part == "common":
            restore_common(run, saved, plan, content.weights)
        else:
            restore_own(run, saved)
