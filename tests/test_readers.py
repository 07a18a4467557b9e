"""Whatever stands in a plan, a recipe or a manifest: it is read, or refused with one kind of error."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mangling import HUGE, JSON, MANY, places, put
from models import ALL

import fxprune
from fxprune.deploy.manifest import read_manifest, remove_old
from fxprune.errors import PlanError, UsageError
from fxprune.plan import Plan
from fxprune.recipes import config_of, read_recipe

KEYS = [
    "target_params",
    "max_steps",
    "learning_rate",
    "schedule",
    "loss",
    "snapshots",
    "importance",
    "length",
    "device",
]


@cache
def plan_text() -> str:
    model = ALL["bert"]
    return str(fxprune.make_plan(model.build(), model.inputs(5, 13), ratio=0.5, importance="random").to_json())


@MANY
@given(st.text())
def test_any_text_is_a_plan_or_no_plan(text: str) -> None:
    with suppress(PlanError):
        Plan.from_json(text)


@MANY
@given(data=st.data())
def test_a_plan_with_something_else_in_one_place_is_a_plan_or_no_plan(data: Any) -> None:
    whole = json.loads(plan_text())
    place = data.draw(st.sampled_from(_outer(whole)))
    with suppress(PlanError):
        Plan.from_json(json.dumps(put(whole, place, data.draw(JSON))))


def _outer(whole: Any) -> list[tuple[Any, ...]]:
    """All places but the many single units."""
    return [path for path in places(whole) if len(path) < 4 or path[-1] in (0, 1)]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"format": "fxprune plan", "version": 1, "model": "", "tensors": {}, "groups": %s}' % ("[" * 9000),
    ],
)
def test_a_plan_too_deep_to_read_is_no_plan(text: str) -> None:
    with pytest.raises(PlanError, match="the text is no plan"):
        Plan.from_json(text)


@pytest.mark.parametrize("size", [10**15, 0, -3])
def test_a_plan_of_groups_that_fit_in_no_memory_is_refused(size: int) -> None:
    whole = json.loads(plan_text())
    key = next(iter(whole["groups"]))
    with pytest.raises(PlanError, match=f"has {size} units"):
        Plan.from_json(json.dumps(put(whole, ("groups", key, "size"), size)))


@MANY
@given(text=st.text())
def test_any_text_is_a_recipe_or_no_recipe(tmp_path: Path, text: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    with suppress(UsageError):
        config_of(str(file), target_params="50%")


@MANY
@given(content=st.dictionaries(st.sampled_from(KEYS), JSON, min_size=1, max_size=4))
def test_any_value_of_a_setting_is_taken_or_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(json.dumps(content))
    with suppress(UsageError):
        config_of(str(file))


@pytest.mark.parametrize("name", ["max_steps", "batch_size", "seed"])
def test_a_number_no_float_holds_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(json.dumps({name: HUGE}))
    with pytest.raises(UsageError, match=f"{name} is a number of 401 digits"):
        config_of(str(file), target_params="50%")


def test_a_recipe_of_references_is_refused_before_it_grows(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    (tmp_path / "r.yaml").write_text("\n".join(lines))
    with pytest.raises(UsageError, match=r"cannot be read\n  cause .*it holds references"):
        read_recipe(str(tmp_path / "r.yaml"))
    (tmp_path / "r.yaml").write_text("# " + "x" * 200_000)
    with pytest.raises(UsageError, match="more than 100,000 bytes"):
        read_recipe(str(tmp_path / "r.yaml"))


def test_numbers_of_a_recipe_are_what_their_settings_say(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("target_params: 15M\nlearning_rate: 1e-3\nsnapshots: [65M, 15M]\nschedule: {interval: 7}")
    config = config_of(str(file))
    assert (config.learning_rate, config.snapshots, config.schedule.interval) == (1e-3, ("65M", "15M"), 7)
    file.write_text("batch_size: many")
    with pytest.raises(UsageError, match=r"batch_size is 'many'\n  cause   Input should be a valid integer"):
        read_recipe(str(file))


@MANY
@given(content=JSON | st.fixed_dictionaries({"format": st.just("fxprune output"), "files": JSON}))
def test_any_manifest_leaves_other_files_alone(tmp_path: Path, content: Any) -> None:
    (tmp_path / "out").mkdir(exist_ok=True)
    mine = tmp_path / "mine.txt"
    mine.touch()
    (tmp_path / "out" / "fxprune.json").write_text(json.dumps(content))
    assert isinstance(read_manifest(tmp_path / "out"), dict)
    remove_old(tmp_path / "out")
    assert mine.exists()
