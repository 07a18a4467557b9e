"""Which parameter axes a model class keeps equal, found by building it at other config values on the meta device."""

from __future__ import annotations

import warnings
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd
from typing import TYPE_CHECKING, TypeAlias

import torch

from fxprune.deploy.config_fields import Path, empty_fields, integer_fields, with_fields
from fxprune.errors import DeployError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from transformers import PretrainedConfig, PreTrainedModel

Axis: TypeAlias = tuple[str, int]  # (name in the state dict, dimension)
Sizes: TypeAlias = dict[Axis, int]

_FACTORS = (Fraction(2), Fraction(3), Fraction(1, 2), Fraction(4), Fraction(3, 2))
_GUESSES = (32, 48, 64, 96)  # for fields that are None: even, as rotary embeddings need

# why a field does not move anything that could be planned with
_REFUSED = "the class refuses other values"
_OTHER_PARAMETERS = "other values add or remove parameters"
_CURVED = "sizes do not follow it on a line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Config fields that can be scaled together, and the axes that follow.

    Multiplying every field by t turns the size of an axis into ``offset + slope * t``; t = 1 is the dense model.
    """

    fields: Mapping[Path, int]  # field -> dense value
    effect: Mapping[Axis, tuple[Fraction, Fraction]]  # axis -> (offset, slope); slope is never 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeClasses:
    """What a model class allows: see `size_classes`."""

    config: PretrainedConfig  # equal to the dense one, with derived sizes written out where that is possible
    sizes: Sizes  # every axis of the state dict
    classes: list[frozenset[Axis]]  # axes of always equal size
    ratios: list[dict[Axis, int]]  # axes of always proportional size: (q | k | v) has three times the rows of hidden
    fixed: frozenset[Axis]  # axes no field moves
    moves: list[Move] = field(repr=False)
    silent: Mapping[Path, int] = field(repr=False)  # fields that move no shape: head counts, but also windows


def size_classes(model_cls: type[PreTrainedModel], config: PretrainedConfig) -> SizeClasses:
    """Find which axes of `model_cls` are free, tied to one another, or fixed, by probing its config.

    Nothing is known about the class: its integer fields are scaled one at a time (or two together, where one alone
    is refused or changes which parameters there are), it is built without weights, and the shapes are compared.

    Raises:
        DeployError: the class cannot be built from `config` itself.
    """
    dense = _shapes(model_cls, config)
    if dense is None:
        raise DeployError(f"{model_cls.__name__} cannot be built from its own config", remedy="check the config")
    config = _spell_out(model_cls, config, dense)
    moves: list[Move] = []
    silent: dict[Path, int] = {}
    refused: dict[Path, str] = {}
    for path, value in integer_fields(config).items():
        match _probe(model_cls, config, {path: value}, dense):
            case str(reason):
                refused[path] = reason
            case Move(effect=effect) if not effect:
                silent[path] = value
            case move:
                moves.append(move)
    pairs, more_silent = _pairs(model_cls, config, dense, refused, moves)
    moves += pairs
    return SizeClasses(
        config=config,
        sizes=dense,
        classes=[frozenset(group) for group in _grouped(dense, moves, proportional=False)],
        ratios=_grouped(dense, moves, proportional=True),
        fixed=frozenset(axis for axis in dense if not any(axis in move.effect for move in moves)),
        moves=moves,
        silent=silent | more_silent,
    )


def meta_sizes(model_cls: type[PreTrainedModel], config: PretrainedConfig) -> Sizes:
    """Return the size of every axis of the state dict (names of tied tensors included), without allocating any weight.

    Raises:
        Exception: whatever the class raises for a config it refuses.
    """
    from transformers.initialization import no_init_weights

    with torch.device("meta"), no_init_weights(), _quiet():
        state = model_cls(with_fields(config, {})).state_dict()
    return {(name, dim): size for name, tensor in state.items() for dim, size in enumerate(tensor.shape)}


@contextmanager
def _quiet() -> Iterator[None]:
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


def _shapes(
    model_cls: type[PreTrainedModel], config: PretrainedConfig, fields: Mapping[Path, int] | None = None
) -> Sizes | None:
    """Return the sizes with `fields` changed, or None if the class refuses them."""
    try:
        return meta_sizes(model_cls, with_fields(config, fields or {}))
    except Exception:  # a class refuses a config with any exception it likes; a refusal is an answer here
        return None


def _spell_out(model_cls: type[PreTrainedModel], config: PretrainedConfig, dense: Sizes) -> PretrainedConfig:
    """Write out the fields that are None and stand for a size, such as an inner size of 4 x hidden."""
    for path in empty_fields(config):
        value = _derived_value(model_cls, config, path, dense)
        if value is not None:
            config = with_fields(config, {path: value})
    return config


def _derived_value(model_cls: type[PreTrainedModel], config: PretrainedConfig, path: Path, dense: Sizes) -> int | None:
    """Return the integer that gives the same shapes as None does, or None if there is no such integer."""
    probes = ((guess, _shapes(model_cls, config, {path: guess})) for guess in _GUESSES)
    seen = [(guess, sizes) for guess, sizes in probes if sizes is not None][:2]
    if len(seen) < 2 or any(sizes.keys() != dense.keys() for _, sizes in seen):
        return None
    (first, before), (second, after) = seen
    for axis, size in dense.items():
        if slope := Fraction(after[axis] - before[axis], second - first):
            value = first + (size - before[axis]) / slope
            fits = value.denominator == 1 and _shapes(model_cls, config, {path: int(value)}) == dense
            return int(value) if fits else None
    return None


def _probe(
    model_cls: type[PreTrainedModel], config: PretrainedConfig, fields: Mapping[Path, int], dense: Sizes
) -> Move | str:
    """Scale `fields` together by two factors the class accepts, or return why there are no two."""
    reason = _REFUSED
    points: list[tuple[Fraction, Sizes]] = []
    for factor in _factors(fields.values()):
        sizes = _shapes(model_cls, config, {path: int(value * factor) for path, value in fields.items()})
        if sizes is not None and sizes.keys() != dense.keys():
            reason = _OTHER_PARAMETERS
        elif sizes is not None:
            points.append((factor, sizes))
        if len(points) == 2:
            effect = _effect(dense, points)
            return _CURVED if effect is None else Move(fields=dict(fields), effect=effect)
    return reason


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


def _pairs(
    model_cls: type[PreTrainedModel],
    config: PretrainedConfig,
    dense: Sizes,
    refused: Mapping[Path, str],
    found: list[Move],
) -> tuple[list[Move], dict[Path, int]]:
    """Scale each field that is refused alone together with one other, say an embedding size with the hidden size.

    Returns the moves of two fields, and the fields that turn out to move nothing beside their partner.
    """
    moves: dict[frozenset[Path], Move] = {}
    silent: dict[Path, int] = {}
    alone = {path: move.effect for move in found for path in move.fields}
    values = integer_fields(config)
    for path, reason in refused.items():
        for partner in (name for name in values if name != path):
            # what adds parameters when it differs from its partner has the same value; a layer count has no partner
            if frozenset({path, partner}) in moves or (reason == _OTHER_PARAMETERS and values[path] != values[partner]):
                continue
            move = _probe(model_cls, config, {name: values[name] for name in sorted((path, partner), key=str)}, dense)
            if isinstance(move, Move) and move.effect == alone.get(partner):
                silent[path] = values[path]
            elif isinstance(move, Move) and move.effect:
                moves[frozenset({path, partner})] = move
    return list(moves.values()), silent


def _grouped(dense: Sizes, moves: list[Move], *, proportional: bool) -> list[dict[Axis, int]]:
    """Group the movable axes that always have equal (or proportional) size; values are the whole-number ratios."""
    groups: dict[tuple[object, ...], Sizes] = defaultdict(dict)
    for axis, size in dense.items():
        slopes = [move.effect.get(axis, (Fraction(size), Fraction(0)))[1] for move in moves]
        if any(slopes):
            key = (*(slope / size for slope in slopes), None if proportional else size)
            groups[key][axis] = size
    unit = {key: gcd(*group.values()) for key, group in groups.items()}
    return [{axis: size // unit[key] for axis, size in group.items()} for key, group in groups.items()]
