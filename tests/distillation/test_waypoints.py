"""Sizes on the way: solved so that nothing is narrower than what follows, reached in order, each rested at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from distilling import batches, distiller
from models import ALL
from text import tokenizer, write_jsonl
from transformers import AutoModelForMaskedLM

from fxprune import api
from fxprune.distillation.config import DistillConfig, ScheduleConfig
from fxprune.distillation.report import Snapshot
from fxprune.distillation.run import distill
from fxprune.distillation.waypoints import Way, Waypoint, find_waypoints, folder_name
from fxprune.errors import PlanError, UsageError
from fxprune.student import Student
from fxprune.widths import Constraints

FAST = {"max_steps": 30, "batch_size": 4, "length": 16, "held_out_batches": 2, "device": "cpu"}


def waypoints(*sizes: str | int) -> tuple[Student, dict[str, int], tuple[Waypoint, ...]]:
    student = distiller("bert").student
    final = api.counts_for(student, target_params="30%", limits=Constraints())
    return student, final, find_waypoints(sizes, student, final, Constraints())


def test_each_size_is_met_within_one_percent_and_none_is_narrower_than_what_follows() -> None:
    student, final, found = waypoints("50%", "80%", "30%")
    dense = student.budget.parameters({})
    assert [point.name for point in found] == ["80pct", "50pct", "30pct"]
    for point, share in zip(found, (0.8, 0.5, 0.3), strict=True):
        assert 0.98 * share * dense <= student.budget.parameters(point.counts) <= share * dense
    for wide, narrow in zip(found, [*found[1:], found[-1]], strict=True):
        assert all(wide.counts[name] >= narrow.counts[name] for name in final)
    assert found[-1].counts == final
    assert 1.0 > found[0].left > found[1].left > found[2].left == 0.0


@pytest.mark.parametrize("size", ["10%", "100%", "1k"])
def test_a_size_that_is_not_on_the_way_is_refused(size: str) -> None:
    with pytest.raises(PlanError, match=r"is not on the way[\s\S]*the student goes from"):
        waypoints(size)


def test_a_size_named_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="named twice"):
        waypoints("50%", "50.0%")


def test_the_way_is_straight_between_stations_and_passes_through_each() -> None:
    way = Way({"a": 100}, {"a": 20}, [Waypoint(name="x", counts={"a": 50}, left=0.5)])
    assert [way.counts(left)["a"] for left in (1.0, 0.75, 0.5, 0.25, 0.0)] == [100, 75, 50, 35, 20]
    assert way.next_stop(0.6) is None
    assert way.next_stop(0.4).name == "x"  # type: ignore[union-attr]
    assert way.next_stop(0.3) is None


def test_without_waypoints_the_way_is_one_line() -> None:
    way = Way({"a": 10}, {"a": 4})
    assert [way.counts(left)["a"] for left in (1.0, 0.5, 0.0)] == [10, 7, 4]


@pytest.mark.parametrize("kind", ["cubic", "one-shot"])
def test_the_student_rests_at_each_size(kind: str) -> None:
    schedule = ScheduleConfig(kind=kind, interval=2, rest=0.1, end=0.5)  # type: ignore[arg-type]
    found = distiller("bert", max_steps=40, target_params="30%", schedule=schedule, snapshots=("80%", "50%"))
    points = find_waypoints(("80%", "50%"), found.student, found.cutter.final, Constraints())
    cutter = type(found.cutter)(found.student, found.cutter.final, found.config, points)
    found.cutter, stream, sizes = cutter, batches(found), []
    for step in range(1, 41):
        found.step(next(stream))
        sizes.append(found.student.traced.num_parameters())
        if (point := cutter.rested(step)) is not None:
            assert sizes[-1] == sizes[-5]  # four steps of rest
            assert {name: found.student.groups[name].size for name in point.counts} == point.counts
            assert point.name == {0: "80pct", 1: "50pct"}[len([p for p in points if p.left > point.left])]
    assert cutter.arrived
    assert {name: found.student.groups[name].size for name in cutter.final} == cutter.final


def test_snapshots_load_and_the_run_goes_on(tmp_path: Path) -> None:
    taken: list[Snapshot] = []
    config = DistillConfig(target_params="40%", snapshots=("70%", "40%"), **FAST)  # type: ignore[arg-type]
    plain = DistillConfig(target_params="40%", **FAST)  # type: ignore[arg-type]
    dataset = write_jsonl(tmp_path)
    result = distill(ALL["bert"].build().float().eval(), tokenizer(), dataset, config, on_snapshot=taken.append)
    (shot,) = taken
    assert shot.student is not None
    dense = result.teacher_params
    assert result.student_params < shot.params == shot.student.num_parameters() <= 0.7 * dense
    shot.student.save(tmp_path / "70pct")
    assert "failures" not in json.loads((tmp_path / "70pct" / "fxprune.json").read_text())
    assert AutoModelForMaskedLM.from_pretrained(tmp_path / "70pct").num_parameters() == shot.params
    assert {"task", "kl"} <= shot.held_out["student"].keys()
    other = distill(ALL["bert"].build().float().eval(), tokenizer(), dataset, plain)
    assert other.student_params == result.student_params


def test_snapshots_that_leave_no_steps_are_refused() -> None:
    with pytest.raises(UsageError, match="2 snapshots do not fit into 10 steps"):
        DistillConfig(target_params="40%", max_steps=10, snapshots=("80%", "60%"))


def test_a_student_that_is_never_rewritten_on_the_way_has_no_snapshots() -> None:
    with pytest.raises(UsageError, match="no snapshots"):
        DistillConfig(target_params="40%", max_steps=100, snapshots=("80%",), schedule=ScheduleConfig(rewrite_every=0))


def test_a_size_becomes_a_folder() -> None:
    assert [folder_name(size) for size in ("65M", "1,000", "12.5%", 3000)] == ["65M", "1000", "12.5pct", "3000"]
