"""The registry of steps, and what a step may ask of a value."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from verify.programs import Dims, Maker

STEPS: list[Maker] = []
FAMILIES = ("weights", "layout", "values", "products", "torch")


def step(maker: Maker) -> Maker:
    """Add a step to those programs are made of."""
    STEPS.append(maker)
    return maker


def all_steps() -> list[Maker]:
    """Return every step; programs are lists of numbers, so the order must not change."""
    for family in FAMILIES:
        import_module(f"verify.steps_{family}")
    return STEPS


def even(n: int) -> Callable[[Dims], bool]:
    """Whether the last dimension has a multiple of `n` positions, and more than `n`."""
    return lambda dims: dims[-1] % n == 0 and dims[-1] > n


def at_least(rank: int) -> Callable[[Dims], bool]:
    """Whether there are so many dimensions."""
    return lambda dims: len(dims) >= rank
