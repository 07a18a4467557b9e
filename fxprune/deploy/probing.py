"""Building a model class on the meta device at other config values, to see which axes follow which fields."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

import torch

from fxprune.deploy.config_fields import Path, with_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from transformers import PretrainedConfig, PreTrainedModel

Axis: TypeAlias = tuple[str, int]  # (name in the state dict, dimension)
Sizes: TypeAlias = dict[Axis, int]

_FACTORS = (Fraction(2), Fraction(3), Fraction(1, 2), Fraction(4), Fraction(3, 2))

# why fields move nothing that could be planned with
REFUSED = "the class refuses other values"
OTHER_PARAMETERS = "other values add or remove parameters"
CURVED = "sizes do not follow on a line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Config fields that can be scaled together, and the axes that follow.

    Multiplying every field by t turns the size of an axis into ``offset + slope * t``; t = 1 is the dense model.
    """

    fields: Mapping[Path, int]  # field -> dense value
    effect: Mapping[Axis, tuple[Fraction, Fraction]]  # axis -> (offset, slope); slope is never 0


@dataclass(frozen=True, slots=True)
class Probe:
    """A class to be asked for its shapes, and those it has now."""

    model_cls: type[PreTrainedModel]
    config: PretrainedConfig
    dense: Sizes

    def sizes(self, fields: Mapping[Path, int]) -> Sizes | None:
        """Return the sizes with `fields` changed, or None if the class refuses them."""
        try:
            return meta_sizes(self.model_cls, with_fields(self.config, fields))
        except Exception:  # a class refuses a config with any exception it likes; a refusal is an answer here
            return None

    def move(self, fields: Mapping[Path, int]) -> Move | str:
        """Scale `fields` together by two factors the class accepts, or say why there are no two."""
        reason = REFUSED
        points: list[tuple[Fraction, Sizes]] = []
        for factor in _factors(fields.values()):
            sizes = self.sizes({path: int(value * factor) for path, value in fields.items()})
            if sizes is not None and sizes.keys() != self.dense.keys():
                reason = OTHER_PARAMETERS
            elif sizes is not None:
                points.append((factor, sizes))
            if len(points) == 2:
                effect = _effect(self.dense, points)
                return CURVED if effect is None else Move(fields=dict(fields), effect=effect)
        return reason


def meta_sizes(model_cls: type[PreTrainedModel], config: PretrainedConfig) -> Sizes:
    """Return the size of every axis of the state dict (names of tied tensors included), without allocating any weight.

    Raises:
        Exception: whatever the class raises for a config it refuses.
    """
    from transformers.initialization import no_init_weights

    with torch.device("meta"), no_init_weights(), _silent():
        state = model_cls(with_fields(config, {})).state_dict()
    return {(name, dim): size for name, tensor in state.items() for dim, size in enumerate(tensor.shape)}


@contextmanager
def _silent() -> Iterator[None]:
    """Silence advice about configs nobody asked for; under ``-W error`` it would count as a refusal."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)


def _factors(values: Iterable[int]) -> list[Fraction]:
    """Return the factors that leave all values whole and change them; a step of one as the last resort."""
    numbers = list(values)
    if not all(numbers):
        return []
    steps = [Fraction(numbers[0] + step, numbers[0]) for step in (1, 2)] if len(numbers) == 1 else []
    return [factor for factor in (*_FACTORS, *steps) if all((v * factor).denominator == 1 for v in numbers)]


def _effect(dense: Sizes, points: list[tuple[Fraction, Sizes]]) -> dict[Axis, tuple[Fraction, Fraction]] | None:
    """Fit ``offset + slope * t`` to each axis at t = 1 and two other points; None if some axis is not on a line."""
    effect = {}
    (t1, first), (t2, second) = points
    for axis, size in dense.items():
        slope = (first[axis] - size) / (t1 - 1)
        if second[axis] != size + slope * (t2 - 1):
            return None
        if slope:
            effect[axis] = (size - slope, slope)
    return effect
