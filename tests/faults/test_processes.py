"""A run of two processes, one of which dies: the other stops within a minute and says why; both go on later."""

from __future__ import annotations

from pathlib import Path

import pytest
from keeping import Kept
from processes import launch, returned
from text import write_jsonl

from faults.pair import FOLDER, dies, goes_on, undisturbed
from fxprune.errors import CheckpointError


@pytest.mark.slow
def test_a_process_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    dataset = write_jsonl(tmp_path)
    found = {}
    for folder, functions in (("first", (dies,)), ("second", (goes_on, undisturbed))):
        (tmp_path / folder).mkdir()
        found |= returned(tmp_path / folder, launch(tmp_path / folder, *functions))
    (seconds, said), second = found["dies"]
    assert second is None
    assert seconds < 60
    assert said.startswith("DistillError: another process of the run has stopped, or did not answer in time")
    assert found["goes_on"] == found["undisturbed"]  # on one machine, bit for bit
    assert found["goes_on"][0] == found["goes_on"][1]
    assert "step-14" in Kept(tmp_path / "out", dataset).checkpoints
    with pytest.raises(CheckpointError, match="the run had 2 processes, and now has 1"):
        Kept(tmp_path / "out", dataset, options={"dropout": True, "micro_batch": 1}).resumed()
