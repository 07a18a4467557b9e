"""What a reader of an output folder asks of the model: what it takes, what it returns, what could not be cut."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from fxprune.budget import Budget
from fxprune.deploy.bundle import origin_of
from fxprune.deploy.parity import output_tensors
from fxprune.errors import DeployError
from fxprune.groups import Groups, analyse
from fxprune.plan import Plan
from fxprune.traced import Traced
from fxprune.wording import folded

_TRY = "a b"  # any text: what counts is what the tokenizer makes of one


def describe(slim: Traced, preprocessor: Any = None) -> dict[str, Any]:
    """Return the interface of `slim` and its frozen groups, for JSON.

    Args:
        slim: on the CPU, in evaluation mode.
        preprocessor: tokenizer or image processor that is saved beside it.
    """
    examples = origin_of(slim).example_kwargs
    given = _given(preprocessor)
    return {
        "inputs": [_input(name, value, slim.provenance.dynamic.get(name), given) for name, value in examples.items()],
        "longest": longest(slim),
        "class_of": origin_of(slim).model_class.__module__.partition(".")[0],
        "preprocessor": type(preprocessor).__name__ if preprocessor is not None else None,
        "output_names": _outputs(slim, examples),
        "frozen": list(_frozen(slim)),
    }


def longest(slim: Traced) -> int | None:
    """Return the most tokens the model takes, such as the rows of its position table; None if nothing bounds them."""
    specs = [spec for spec in slim.provenance.dynamic.values() if isinstance(spec, dict)]
    bounds = [getattr(dim, "max", None) for spec in specs for axis, dim in spec.items() if axis == 1]
    return min((bound for bound in bounds if isinstance(bound, int)), default=None)


def _given(preprocessor: Any) -> frozenset[str]:
    """Return the names of the inputs a tokenizer or processor makes."""
    if preprocessor is None:
        return frozenset()
    if not hasattr(preprocessor, "encode"):
        return frozenset({"pixel_values"})
    return frozenset(preprocessor(_TRY))


def _input(name: str, value: Any, spec: Any, given: frozenset[str]) -> dict[str, Any]:
    if not isinstance(value, Tensor):
        plain = value is None or isinstance(value, bool | int | float | str)
        return {"name": name, "value": value} if plain else {"name": name, "nested": True}
    free = spec if isinstance(spec, Mapping) else {}
    sizes = [getattr(free.get(axis), "__name__", size) for axis, size in enumerate(value.shape)]
    dtype = str(value.dtype).removeprefix("torch.")
    return {"name": name, "shape": sizes, "dtype": dtype, "preprocessed": name in given}


@torch.no_grad()
def _outputs(slim: Traced, examples: Mapping[str, Any]) -> list[str]:
    try:
        return list(output_tensors(slim(**examples)))
    except DeployError:
        return []  # something among them is no tensor: the ONNX stage says it


def _frozen(slim: Traced) -> Iterator[dict[str, Any]]:
    """Yield the groups with parameters that could not be cut, equal layers folded; those that hold most first."""
    groups: Groups = slim.meta.get("groups") or analyse(slim)
    plan: Plan | None = slim.meta.get("plan")
    cut = {entry.name for entry in plan.groups.values() if entry.count < entry.size} if plan else set()
    budget = Budget.of(slim, groups)
    families: dict[tuple[str, int, str], list[tuple[int, str]]] = defaultdict(list)
    for group in groups:
        if group.frozen and group.name not in cut:
            where = ", ".join(part for part in (group.frozen.node, group.frozen.module) if part)
            held = budget.parameters({}) - budget.parameters({group.name: 0})
            families[folded(group.name), group.size, group.frozen.reason].append((held, where))
    totals = {key: sum(held for held, _ in found) for key, found in families.items()}
    for key in sorted(totals, key=lambda key: -totals[key]):
        if totals[key]:
            name, size, reason = key
            numbers = {"size": size, "groups": len(families[key]), "parameters": totals[key]}
            yield {"name": name, **numbers, "reason": reason, "where": families[key][0][1]}
