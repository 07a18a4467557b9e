"""Recipes: settings of distillation runs by name, in YAML files beside this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from fxprune.errors import UsageError, unknown_name

FOLDER = Path(__file__).parent


def known_recipes() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_recipe(name: str) -> dict[str, Any]:
    """Return the settings of a recipe: fields of `DistillConfig`, those of its schedule and loss one level deeper.

    Args:
        name: of a recipe that comes with the package, or a YAML file.
    Raises:
        UsageError: there is no such recipe, it is no YAML mapping, or a key is no setting.
    """
    from fxprune.distillation.config import DistillConfig, LossWeights, ScheduleConfig

    settings = _parsed(name)
    for given, kind in ((settings, DistillConfig), ("schedule", ScheduleConfig), ("loss", LossWeights)):
        part = settings.get(given, {}) if isinstance(given, str) else given
        if not isinstance(part, Mapping):
            raise UsageError(f"recipe {name!r}: {given} is {part!r}", remedy=f"write it as {given}: {{key: value}}")
        known = [field.name for field in fields(kind)]
        if strange := [key for key in part if key not in known]:
            raise UsageError(f"recipe {name!r}: {unknown_name('setting', str(strange[0]), known)}")
    return settings


def _parsed(name: str) -> dict[str, Any]:
    import yaml

    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        if path.parent != FOLDER:
            raise UsageError(f"there is no recipe file {name!r}", remedy=f"or use one of {', '.join(known_recipes())}")
        raise UsageError(unknown_name("recipe", name, known_recipes()), remedy="or give a .yaml file")
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        cause = str(error).splitlines()[0]
        raise UsageError(f"recipe {name!r} cannot be read", cause=cause, remedy="give a YAML file") from error
    if not isinstance(settings, dict):
        raise UsageError(f"recipe {name!r} holds no settings", remedy="write lines such as max_steps: 1000")
    return settings


def config_of(name: str, **overrides: Any) -> Any:
    """Return the `DistillConfig` of a recipe, with `overrides` in the place of what it says.

    Raises:
        UsageError: no such recipe, an unknown setting, or one that cannot be meant.
    """
    from fxprune.distillation.config import DistillConfig, LossWeights, ScheduleConfig

    settings = read_recipe(name)
    if {"target_params", "target_flops", "target_ratio"} & overrides.keys():
        settings = {key: value for key, value in settings.items() if not key.startswith("target_")}
    parts = {
        "schedule": ScheduleConfig(**settings.pop("schedule", {})),
        "loss": LossWeights(**settings.pop("loss", {})),
    }
    try:
        return DistillConfig(**{**parts, **settings, **overrides})
    except TypeError as error:
        raise UsageError(
            f"recipe {name!r} has a setting of the wrong kind", cause=error, remedy="see its keys"
        ) from error
