from __future__ import annotations

from pathlib import Path

import pytest

from fxprune.distillation.config import DistillConfig
from fxprune.errors import UsageError
from fxprune.recipes import config_of, known_recipes, read_recipe

WIDTHS = {"homobert-base": 576, "homobert-small": 256, "homobert-xsmall": 240, "homobert-tiny": 224}


def test_the_papers_models_are_there() -> None:
    assert set(known_recipes()) == set(WIDTHS)


@pytest.mark.parametrize(("name", "width"), WIDTHS.items())
def test_a_recipe_makes_a_config(name: str, width: int) -> None:
    config = config_of(name)
    assert isinstance(config, DistillConfig)
    assert config.target_ratio == pytest.approx(width / 768)
    assert config.target_ratio <= width / 768 + 1e-12
    assert config.batch_size == 4096
    assert config.learning_rate == (3e-4 if name == "homobert-base" else 6e-4)


def test_what_is_given_goes_before_the_recipe() -> None:
    config = config_of("homobert-tiny", max_steps=7, target_params="15M")
    assert (config.max_steps, config.target_params, config.target_ratio) == (7, "15M", None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_stps: 3", r"unknown setting 'max_stps'; did you mean 'max_steps'\?"),
        ("schedule: {ende: 1}", r"unknown setting 'ende'; did you mean 'end'\?"),
        ("loss: 3", "loss is 3"),
        ("- 1", "holds no settings"),
        ("a: [", "cannot be read"),
        ("target_ratio: 0.5\nmax_steps: many", "max_steps is .many."),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        config_of(str(path))


@pytest.mark.parametrize(
    ("name", "said"), [("homobert-tny", "did you mean 'homobert-tiny'"), ("no.yaml", "no recipe file")]
)
def test_a_recipe_that_is_not_there_is_refused(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_recipe(name)
