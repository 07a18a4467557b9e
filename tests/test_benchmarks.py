"""The helpers of the benchmarks: order of runs, spread, ratios, memory; the benchmarks themselves take minutes."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def common(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "common", raising=False)
    return importlib.import_module("common")


def test_cases_alternate_and_change_order_every_round(common: ModuleType) -> None:
    seen: list[str] = []

    def case(name: str) -> Any:
        return lambda: lambda: seen.append(name)

    samples = common.alternate({"a": case("a"), "b": case("b")}, rounds=2, warmup=1)
    assert seen == ["a", "b", "b", "a", "a", "b"]
    assert {name: len(runs) for name, runs in samples.items()} == {"a": 2, "b": 2}


def test_preparation_is_not_timed(common: ModuleType) -> None:
    def prepare() -> Any:
        sum(range(3_000_000))
        return lambda: None

    (sample,) = common.alternate({"a": prepare}, rounds=1, warmup=0)["a"]
    assert sample.cpu < 0.01


def test_a_spread_has_median_quartiles_and_best(common: ModuleType) -> None:
    spread = common.Spread.of([common.Sample(wall=wall, cpu=wall / 2) for wall in (3.0, 1.0, 2.0, 10.0, 4.0)])
    assert (spread.low, spread.median, spread.high) == (2.0, 3.0, 4.0)
    assert (spread.best, spread.cpu, spread.n) == (1.0, 1.5, 5)
    assert spread.to_json()["median"] == 3.0
    assert common.Spread.of([common.Sample(wall=1.0, cpu=1.0)]).high == 1.0


def test_ratios_are_taken_round_by_round(common: ModuleType) -> None:
    slow = [common.Sample(wall=wall, cpu=6.0) for wall in (2.0, 40.0, 6.0)]
    fast = [common.Sample(wall=wall, cpu=3.0) for wall in (1.0, 10.0, 2.0)]
    assert common.ratio(slow, fast) == (2.5, 3.0, 3.5)
    assert common.ratio(slow, fast, clock="cpu")[1] == 2.0


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="this system tells no peak memory")
def test_peak_memory_is_what_one_run_needed_on_top(common: ModuleType) -> None:
    peak = common.peak_mb(lambda: len(bytearray(b"x") * 50_000_000))
    assert 40 < peak < 80


def test_the_table_and_the_facts_of_the_machine_can_be_printed(
    common: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    spread = common.Spread.of([common.Sample(wall=0.0123, cpu=0.01)])
    common.console().print(common.table("title", {"row": spread}, {"row": 3.2}))
    printed = capsys.readouterr().out
    assert "12.3" in printed
    assert "+3" in printed
    facts = str(common.Machine.of_now())
    assert "thread" in facts
    assert "torch-pruning 1.6.1" in facts


def test_large_models_are_planned_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    scale = importlib.import_module("scale")
    small = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2}
    kind, settings = scale.CONFIGS["Mixtral-8x7B"]
    monkeypatch.setitem(scale.CONFIGS, "tiny", (kind, settings | small))
    row = scale.measure("tiny", 2)
    assert row["layers"] == 2
    assert row["cut"] > 0
    assert row["cpu"].keys() == {"build", "capture", "analyse", "plan"}
    scale.table([row])
