"""Widths chosen by latency are kept with the run: it goes on to them, whatever a clock would say now."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keeping import Kept, assert_same
from mangling import JSON, MANY, places, put
from text import write_jsonl
from timing import time_by_size

from fxprune import latency
from fxprune.distillation.checkpoints.widths import WIDTHS, read_widths
from fxprune.errors import CheckpointError

AIM = {"target_params": None, "target_latency": "4ms", "at": "2x16"}
STEP = 6


def forgetful(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Let nothing be timed, and what was timed be lost."""
    monkeypatch.setattr(latency, "runtime_clock", lambda examples, workload: None)
    monkeypatch.setenv("FXPRUNE_CACHE", str(cache))


def test_a_run_goes_on_to_the_widths_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_jsonl(tmp_path)
    whole, parted = (Kept(tmp_path / name, data, options=AIM) for name in ("whole", "parted"))
    time_by_size(monkeypatch, tmp_path / "cache")
    wanted = whole.run()
    parted.stopped(STEP)
    forgetful(monkeypatch, tmp_path / "empty")
    got = parted.resumed()
    assert_same(got, wanted)
    assert got.student.latency_plan == wanted.student.latency_plan
    assert parted.journal == whole.journal


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A run that was stopped, and would time nothing more."""
    folder = tmp_path_factory.mktemp("kept")
    found = Kept(folder / "out", write_jsonl(folder), options=AIM)
    with pytest.MonkeyPatch.context() as patched:
        time_by_size(patched, folder / "cache")
        found.stopped(STEP)
    return found


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda counts: counts | {min(counts): counts[min(counts)] - 1}, "the widths the run goes to are not those it"),
        (lambda counts: counts | {min(counts): 10**6}, "the widths kept for the run are not those of this model"),
        (lambda counts: counts | {"a\x1b[31m": 1}, "the widths kept for the run are not those of this model"),
        (lambda counts: counts | {min(counts): "4"}, f"{WIDTHS}' is damaged"),
    ],
)
def test_other_widths_are_refused(kept: Kept, edit: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    forgetful(monkeypatch, kept.folder)
    path = kept.folder / "checkpoints" / WIDTHS
    before = path.read_text()
    data = json.loads(before)
    path.write_text(json.dumps(data | {"counts": edit(data["counts"])}))
    with pytest.raises(CheckpointError) as error:
        kept.resumed()
    path.write_text(before)
    assert message in error.value.message
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize("ms", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["target_ms", "measured_ms"])
def test_a_time_is_positive(kept: Kept, tmp_path: Path, name: str, ms: float) -> None:
    whole = json.loads((kept.folder / "checkpoints" / WIDTHS).read_text())
    (tmp_path / WIDTHS).write_text(json.dumps(whole | {name: ms}))
    with pytest.raises(CheckpointError, match=r"widths.json' is damaged\n  cause   a time is not positive"):
        read_widths(tmp_path)


@MANY
@given(data=st.data())
def test_widths_with_something_else_in_one_place_are_read_or_refused(kept: Kept, tmp_path: Path, data: Any) -> None:
    whole = json.loads((kept.folder / "checkpoints" / WIDTHS).read_text())
    file = tmp_path / WIDTHS
    file.write_text(json.dumps(put(whole, data.draw(st.sampled_from(places(whole))), data.draw(JSON))))
    with suppress(CheckpointError):
        read_widths(tmp_path)


def test_where_there_are_none_they_are_chosen_anew(tmp_path: Path) -> None:
    assert read_widths(tmp_path) is None
