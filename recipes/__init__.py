"""Recipes: settings of distillation runs by name, in YAML files beside this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from fxprune.errors import UsageError, shortened, unknown_name
from fxprune.hub import first_line

FOLDER = Path(__file__).parent
_LONGEST = 100_000  # bytes of a recipe


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
        if not isinstance(part, dict):
            raise UsageError(
                f"recipe {name!r}: {given} is {shortened(part)}", remedy=f"write it as {given}: {{key: value}}"
            )
        known = [field.name for field in fields(kind)]
        if strange := [key for key in part if key not in known]:
            raise UsageError(f"recipe {name!r}: {unknown_name('setting', str(strange[0]), known)}")
        part.update(_of_kind(name, kind, part))
    return settings


def _of_kind(name: str, kind: type, part: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings as the types of their fields say: YAML reads 1e-3 as text."""
    from pydantic import TypeAdapter, ValidationError

    hints, found = get_type_hints(kind), {}
    for key, value in part.items():
        if is_dataclass(hints[key]):  # checked by itself
            continue
        try:
            found[key] = TypeAdapter(hints[key]).validate_python(value)
        except ValidationError as error:
            raise UsageError(
                f"recipe {name!r}: {key} is {shortened(value)}", cause=error.errors()[0]["msg"], remedy="see its type"
            ) from error
    return found


def _parsed(name: str) -> dict[str, Any]:
    import yaml

    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        if path.parent != FOLDER:
            raise UsageError(f"there is no recipe file {name!r}", remedy=f"or use one of {', '.join(known_recipes())}")
        raise UsageError(unknown_name("recipe", name, known_recipes()), remedy="or give a .yaml file")
    try:
        settings = yaml.safe_load(_text(path))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        cause = first_line(error)
        raise UsageError(f"recipe {name!r} cannot be read", cause=cause, remedy="give a YAML file") from error
    if not isinstance(settings, dict):
        raise UsageError(f"recipe {name!r} holds no settings", remedy="write lines such as max_steps: 1000")
    return settings


def _text(path: Path) -> str:
    """Return a file of settings: short, and without references, which let a few lines stand for billions."""
    import yaml

    if path.stat().st_size > _LONGEST:
        raise ValueError(f"it has more than {_LONGEST:,} bytes")
    text = path.read_text(encoding="utf-8")
    if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, yaml.SafeLoader)):
        raise ValueError("it holds references (*name)")
    return text


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
