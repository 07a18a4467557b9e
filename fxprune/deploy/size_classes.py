"""Which parameter axes a model class keeps equal, found by building it at other config values."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd
from typing import TYPE_CHECKING

from fxprune.deploy.config_fields import Path, empty_fields, integer_fields, with_fields
from fxprune.deploy.probing import OTHER_PARAMETERS, Axis, Move, Probe, Sizes
from fxprune.errors import DeployError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from transformers import PretrainedConfig, PreTrainedModel

_GUESSES = (32, 48, 64, 96)  # for fields that are None: even, as rotary embeddings need


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiple:
    """A demand no shape shows: the size of `axes` must be a multiple of a config field, say of the number of heads."""

    axes: frozenset[Axis]
    field: Path
    value: int  # of the field in the dense model


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeClasses:
    """What a model class allows: see `size_classes`."""

    config: PretrainedConfig  # equal to the dense one, with derived sizes written out where that is possible
    sizes: Sizes  # every axis of the state dict
    classes: list[frozenset[Axis]]  # axes of always equal size
    ratios: list[dict[Axis, int]]  # axes of always proportional size: (q | k | v) has three times the rows of hidden
    fixed: frozenset[Axis]  # axes no field moves
    multiples: list[Multiple]
    moves: list[Move] = field(repr=False)
    silent: Mapping[Path, int] = field(repr=False)  # fields that move no shape: head counts, but also windows


def size_classes(model_cls: type[PreTrainedModel], config: PretrainedConfig) -> SizeClasses:
    """Find which axes of `model_cls` are free, tied to one another, or fixed, by probing its config.

    Nothing is known about the class: its integer fields are scaled one at a time (or two together, where one alone
    is refused or changes which parameters there are), it is built without weights, and the shapes are compared.

    Raises:
        DeployError: the class cannot be built from `config` itself.
    """
    dense = Probe(model_cls, config, {}).sizes({})
    if dense is None:
        raise DeployError(f"{model_cls.__name__} cannot be built from its own config", remedy="check the config")
    probe = _spelled_out(Probe(model_cls, config, dense))
    moves, silent = _moves(probe)
    return SizeClasses(
        config=probe.config,
        sizes=dense,
        classes=[frozenset(group) for group in _grouped(dense, moves, proportional=False)],
        ratios=_grouped(dense, moves, proportional=True),
        fixed=frozenset(axis for axis in dense if not any(axis in move.effect for move in moves)),
        multiples=[found for move in moves for found in _multiples(probe, move)],
        moves=moves,
        silent=silent,
    )


def _spelled_out(probe: Probe) -> Probe:
    """Write out the fields that are None and stand for a size, such as an inner size of 4 x hidden."""
    for path in empty_fields(probe.config):
        value = _derived_value(probe, path)
        if value is not None:
            probe = Probe(probe.model_cls, with_fields(probe.config, {path: value}), probe.dense)
    return probe


def _derived_value(probe: Probe, path: Path) -> int | None:
    """Return the integer that gives the same shapes as None does, or None if there is no such integer."""
    seen = [(guess, sizes) for guess in _GUESSES if (sizes := probe.sizes({path: guess})) is not None][:2]
    if len(seen) < 2 or any(sizes.keys() != probe.dense.keys() for _, sizes in seen):
        return None
    (first, before), (second, after) = seen
    for axis, size in probe.dense.items():
        if slope := Fraction(after[axis] - before[axis], second - first):
            value = first + (size - before[axis]) / slope
            fits = value.denominator == 1 and probe.sizes({path: int(value)}) == probe.dense
            return int(value) if fits else None
    return None


def _moves(probe: Probe) -> tuple[list[Move], dict[Path, int]]:
    """Scale every field alone, then those that are refused in pairs; return the moves and the fields without effect."""
    moves: list[Move] = []
    silent: dict[Path, int] = {}
    refused: dict[Path, str] = {}
    for path, value in integer_fields(probe.config).items():
        match probe.move({path: value}):
            case str(reason):
                refused[path] = reason
            case Move(effect=effect) if not effect:
                silent[path] = value
            case move:
                moves.append(move)
    pairs, more_silent = _pairs(probe, refused, moves)
    return [*moves, *pairs, *_triples(probe, refused, pairs, more_silent)], silent | more_silent


def _triples(
    probe: Probe, refused: Mapping[Path, str], pairs: Iterable[Move], silent: Mapping[Path, int]
) -> Iterator[Move]:
    """Scale what is in no pair with one: heads, where dims are divided out of a width that is tied to another."""
    paired = {path for move in pairs for path in move.fields}
    values = integer_fields(probe.config)
    for path in refused.keys() - paired - silent.keys():
        for pair in pairs:
            move = probe.move({name: values[name] for name in sorted((path, *pair.fields), key=str)})
            if isinstance(move, Move) and move.effect and move.effect != pair.effect:
                yield move


def _pairs(probe: Probe, refused: Mapping[Path, str], found: list[Move]) -> tuple[list[Move], dict[Path, int]]:
    """Scale each field that is refused alone together with one other, say an embedding size with the hidden size.

    Returns the moves of two fields, and the fields that turn out to move nothing beside their partner.
    """
    moves: dict[frozenset[Path], Move] = {}
    silent: dict[Path, int] = {}
    alone = {path: move.effect for move in found for path in move.fields}
    values = integer_fields(probe.config)
    for path, reason in refused.items():
        for partner in (name for name in values if name != path):
            # what adds parameters when it differs from its partner has the same value; a layer count has no partner
            if frozenset({path, partner}) in moves or (reason == OTHER_PARAMETERS and values[path] != values[partner]):
                continue
            move = probe.move({name: values[name] for name in sorted((path, partner), key=str)})
            if isinstance(move, Move) and move.effect == alone.get(partner):
                silent[path] = values[path]
            elif isinstance(move, Move) and move.effect:
                moves[frozenset({path, partner})] = move
    return list(moves.values()), silent


def _grouped(dense: Sizes, moves: list[Move], *, proportional: bool) -> list[dict[Axis, int]]:
    """Group the movable axes that always have equal (or proportional) size; values are the whole-number ratios.

    An axis of no size is in no proportion: MobileBERT keeps a table of what its hidden states exceed the embedding by.
    """
    groups: dict[tuple[object, ...], Sizes] = defaultdict(dict)
    for axis, size in dense.items():
        slopes = [move.effect.get(axis, (Fraction(size), Fraction(0)))[1] for move in moves]
        if size and any(slopes):
            key = (*(slope / size for slope in slopes), None if proportional else size)
            groups[key][axis] = size
    unit = {key: gcd(*group.values()) for key, group in groups.items()}
    return [{axis: size // unit[key] for axis, size in group.items()} for key, group in groups.items()]


def _multiples(probe: Probe, move: Move) -> Iterator[Multiple]:
    """Yield the fields that the one field of `move` must be a multiple of.

    Such a field g is found where a step by g is the smallest the class accepts, and a smaller g allows a smaller step.
    """
    if len(move.fields) > 1:
        return
    ((path, value),) = move.fields.items()
    axes = frozenset(axis for axis in move.effect if probe.dense[axis] == value)
    steps = (step for step in range(1, value) if value % step == 0)
    step = next((step for step in steps if probe.sizes({path: value + step}) is not None), 1)
    for other, size in integer_fields(probe.config).items() if axes and step > 1 else ():
        smaller = next((part for part in range(step - 1, 0, -1) if step % part == 0), 1)
        if size == step and probe.sizes({path: value + smaller, other: smaller}) is not None:
            yield Multiple(axes=axes, field=other, value=size)
