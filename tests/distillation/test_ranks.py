"""Two processes are one: the same losses, the same student, and neither goes on without the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from processes import launch, returned
from sharing import alone, death, disagreement, more_runs, runs, shares, silence

from fxprune.distillation.objective import Batch
from fxprune.distillation.ranks import _buckets

# ---------------------------------------------------------------------- one process


def test_one_process_is_the_identity() -> None:
    ranks, batch = alone(), Batch({"input_ids": torch.zeros(5, 3)}, None)
    tensors = [torch.ones(3), torch.ones(2, 2)]
    ranks.add(tensors)
    ranks.average(tensors)
    assert all((tensor == 1).all() for tensor in tensors)
    assert ranks.share(batch) is batch
    assert ranks.every([1, 2, 3]) == [1, 2, 3]
    assert ranks.total({"a": 1.5}) == {"a": 1.5}
    assert ranks.gather("x") == ["x"]
    assert ranks.main
    ranks.check_same("anything", 1, 1)
    ranks.wait()


@pytest.mark.parametrize("rows", [4, 5, 7])
def test_shares_are_runs_of_rows_that_make_up_the_batch(rows: int) -> None:
    batch, found = Batch({"input_ids": torch.arange(rows)[:, None]}, torch.zeros(rows, 1)), []
    for index in range(3):
        ranks = alone()
        ranks.index, ranks.count = index, 3
        found.append(ranks.share(batch))
    assert torch.equal(torch.cat([share.inputs["input_ids"] for share in found]), batch.inputs["input_ids"])
    assert {share.whole for share in found} == {batch.whole}
    assert [share.first for share in found] == [int(share.inputs["input_ids"][0]) for share in found]
    assert max(share.rows for share in found) - min(share.rows for share in found) <= 1


def test_buckets_hold_all_tensors_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fxprune.distillation.ranks.BUCKET", 10)
    tensors = [torch.zeros(n) for n in (3, 4, 5, 20, 1)]
    found = list(_buckets(tensors))
    assert [len(tensor) for bucket in found for tensor in bucket] == [3, 4, 5, 20, 1]
    assert [len(bucket) for bucket in found] == [3, 1, 1]


# ---------------------------------------------------------------------- two processes


def test_two_processes_are_one(tmp_path: Path) -> None:
    """Everything in one test, for a process takes seconds to start."""
    started = launch(tmp_path, runs, shares, disagreement, silence, death)
    one, batches = runs(), shares()
    two = returned(tmp_path, started)
    for name in one:
        they_follow_one(two["runs"], one, name)
    assert two["shares"] == [batches] * 2
    those_that_disagree_are_told_so(two["disagreement"])
    one_that_is_gone_stops_the_others(two["silence"][0])
    one_that_is_gone_stops_the_others(two["death"][0])
    assert two["death"][1] is None


@pytest.mark.slow
def test_two_processes_are_one_with_parts_masks_and_repairs(tmp_path: Path) -> None:
    started = launch(tmp_path, more_runs)
    one, two = more_runs(), returned(tmp_path, started)["more_runs"]
    for name in one:
        they_follow_one(two, one, name)


def they_follow_one(two: list[Any], one: dict[str, Any], name: str) -> None:
    """Every loss, and the last row, of the held-out text."""
    first, second = (found[name] for found in two)
    assert first == second
    history, cuts, plan = one[name]
    got, same, other = first
    assert same == cuts
    assert len(cuts) >= (5 if name in ("bert", "encoder") else 2)
    assert other == plan
    for losses, expected in zip(got, history, strict=True):
        assert losses == pytest.approx(expected, rel=0, abs=1e-4)


def those_that_disagree_are_told_so(told: list[str]) -> None:
    for text in told:
        assert text.startswith("DistillError: the processes disagree on what to cut at step ")
        assert "process 0 has " in text
        assert "process 1 has " in text
        assert "same command" in text


def one_that_is_gone_stops_the_others(told: str) -> None:
    """Whether it died, or does not answer."""
    assert told.startswith("DistillError: another process of the run has stopped, or did not answer in time\n")
    assert "--timeout" in told
