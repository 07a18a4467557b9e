"""What a job will come to, told before any weight is loaded: captured from the config, on the meta device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table

from fxprune.api import constraints
from fxprune.cli import render
from fxprune.cli.graphs import capture_rows
from fxprune.errors import FxpruneError
from fxprune.forecast import Forecast, forecast
from fxprune.goal import Goal
from fxprune.groups import analyse
from fxprune.sources import Source, example_inputs, load_shell
from fxprune.traced import Traced
from fxprune.widths import Constraints
from fxprune.wording import folded, shape_name, short

Free = Callable[[Traced, Any], frozenset[int] | None]  # (captured, tokenizer) -> outputs that may be cut, if known


def foresee(name: str, goal: Goal, free: Free, *, loadable: bool = True, weights: bool = True) -> Forecast | None:
    """Plan the widths of a model without its weights; None where that cannot be: a latency is measured on a file.

    Args:
        name: of the model.
        goal: what is asked for.
        free: says which outputs may be cut.
        loadable: widths must be expressible by a config of the model's class.
        weights: whether a folder must hold them, though they are not read.
    Raises:
        PlanError, UsageError: the target cannot be met; better now than after loading.
    """
    captured = _captured(name, weights, goal.length) if not goal.times else None
    if captured is None:
        return None
    traced, source = captured
    places = free(traced, source.tokenizer)
    if places is None:
        return None
    limits = constraints(source.model, traced) if loadable else Constraints()
    return forecast(traced, analyse(traced, free_outputs=places), goal, limits)


def _captured(name: str, weights: bool, length: int) -> tuple[Traced, Source] | None:
    try:
        source = load_shell(name, weights=weights)
        return capture_rows(source.model, example_inputs(source.model, source.tokenizer), length), source
    except FxpruneError:
        return None  # loading will say it, or do without
    except Exception:  # a model whose code looks at weights while it is made or traced raises whatever it likes
        return None


def say(planned: Forecast) -> None:
    """Tell sizes and widths on stderr."""
    render.say(sizes(planned))
    if planned.widths:
        told = [f"{name} {a} -> {b}{f' in {n} layers' if n > 1 else ''}" for name, a, b, n in _folded(planned.widths)]
        render.say(f"widths: {', '.join(told)}")
    for note in planned.notes:
        render.say(note)


def sizes(planned: Forecast) -> str:
    """Return ``109,514,298 -> 14,999,190 parameters, 22.4G -> 2.07G FLOPs at 1 x 128``."""
    most = "" if planned.widths else "at most "
    parts = []
    if planned.params is not None:
        parts.append(f"{planned.dense_params:,} -> {most}{planned.params:,} parameters")
    if planned.flops is not None and planned.dense_flops is not None:
        after = short(planned.flops)
        at = shape_name(1, planned.length)
        parts.append(f"{short(planned.dense_flops)} -> {most}{after} FLOPs at {at}")
    return ", ".join(parts)


def table(planned: Forecast) -> Table:
    """Return the widths that change, equal layers folded."""
    found = Table()
    for column in ("group", "layers", "units", "kept"):
        found.add_column(column, justify="left" if column == "group" else "right")
    for name, before, after, times in _folded(planned.widths):
        found.add_row(name, str(times) if times > 1 else "", str(before), str(after))
    return found


def facts(planned: Forecast) -> dict[str, Any]:
    """Return the same for machines."""
    numbers = {key: value for key, value in asdict(planned).items() if key not in ("final", "widths", "notes")}
    widths = {name: {"dense": a, "kept": b} for name, (a, b) in planned.widths.items()}
    return {**numbers, "widths": widths, "notes": list(planned.notes)}


def _folded(widths: Mapping[str, tuple[int, int]]) -> list[tuple[str, int, int, int]]:
    counted = Counter((folded(name), a, b) for name, (a, b) in widths.items())
    return [(name, a, b, times) for (name, a, b), times in counted.items()]
