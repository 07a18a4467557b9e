"""Find the configs of a model class that give the slim shapes, without knowing the class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, product
from math import prod
from typing import TYPE_CHECKING, Any

from fxprune.deploy.config_fields import Path, field_name, with_fields
from fxprune.deploy.probing import Axis, Move, Sizes, meta_sizes
from fxprune.deploy.size_classes import SizeClasses, size_classes
from fxprune.errors import DeployError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence, Set

    from transformers import PretrainedConfig, PreTrainedModel

__all__ = ["SizeClasses", "size_classes", "solve_config"]

_NOT_SIZES = ("architectures",)  # written by save_pretrained
_REMEDY = "plan with its size classes, or leave out the Hugging Face export"


def solve_config(
    model_cls: type[PreTrainedModel],
    config: PretrainedConfig,
    slim_shapes: Mapping[str, Sequence[int]],
    hints: Mapping[int, Set[int]] | None = None,
    classes: SizeClasses | None = None,
) -> Iterator[PretrainedConfig]:
    """Yield the configs of the same class whose parameters have exactly the slim shapes, the most plausible first.

    Shapes do not show everything (how many heads share a projection, say), so there may be several, and the caller
    compares outputs.

    Args:
        model_cls: the class of the dense model.
        config: its config.
        slim_shapes: name in the state dict -> shape. Tied names may be left out.
        hints: dense size -> slim sizes of the pruned groups, as in ``{12: {8}, 64: {28}, 768: {224}}``; the only source
            for numbers no shape shows.
        classes: from `size_classes`, if already known.
    Raises:
        DeployError: no config has these shapes; says which parameter stands in the way.
    """
    classes = classes or size_classes(model_cls, config)
    search = _Search(model_cls, classes, _wanted(model_cls, classes, slim_shapes), hints or {})
    candidates = search.candidates()
    first = next(candidates, None)
    if first is None:
        raise DeployError(
            f"no config of {model_cls.__name__} has the slim shapes", cause=search.closest_miss(), remedy=_REMEDY
        )
    return chain([first], candidates)


def changed_fields(dense: PretrainedConfig, slim: PretrainedConfig) -> dict[str, tuple[Any, Any]]:
    """Return field -> (dense, slim) for every size that differs between two configs, nested ones included."""
    return dict(_differences(dense.to_dict(), slim.to_dict(), ""))


def _differences(dense: Mapping[str, Any], slim: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name in sorted(dense.keys() | slim.keys()):
        old, new = dense.get(name), slim.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{prefix}{name}.")
        elif old != new and isinstance(new, int | list) and name not in _NOT_SIZES:
            yield f"{prefix}{name}", (old, new)


def _wanted(model_cls: type, classes: SizeClasses, slim_shapes: Mapping[str, Sequence[int]]) -> Sizes:
    """Return the slim size of every axis, after checking that the class has these parameters."""
    wanted = {(name, dim): int(size) for name, shape in slim_shapes.items() for dim, size in enumerate(shape)}
    unknown = sorted({name for name, _ in wanted.keys() - classes.sizes.keys()})
    if unknown:
        raise DeployError(f"{model_cls.__name__} has no parameter {unknown[0]!r} of this rank", remedy=_REMEDY)
    for axis, size in wanted.items():
        if size != classes.sizes[axis] and axis in classes.fixed:
            raise DeployError(
                f"no config of {model_cls.__name__} changes {_show(axis)} from {classes.sizes[axis]} to {size}",
                cause="no config field moves this axis",
                remedy=_REMEDY,
            )
    return wanted


@dataclass(frozen=True)
class _Search:
    model_cls: type[PreTrainedModel]
    classes: SizeClasses
    wanted: Sizes
    hints: Mapping[int, Set[int]]

    def candidates(self) -> Iterator[PretrainedConfig]:
        """Yield every config with the wanted shapes, those with the fewest guesses first."""
        for fields in self._assignments():
            slim = self._build(fields)
            if not isinstance(slim, str):
                yield slim

    def closest_miss(self) -> str:
        """Say what is wrong with the most plausible assignment."""
        for fields in self._assignments():
            mismatch = self._build(fields)
            setting = ", ".join(f"{field_name(path)}={value}" for path, value in fields.items())
            return f"with {setting or 'the dense config'}: {mismatch}"
        axes = " and ".join(f"{_show(axis)} x {ratio}" for (_, ratio), axis in self._products().items())
        return f"no combination of config fields gives {axes}"

    def _assignments(self) -> Iterator[dict[Path, int]]:
        """Yield field values that may give the shapes: solved where shapes tell, guessed from the hints elsewhere."""
        dense = dict(chain(self.classes.silent.items(), *(move.fields.items() for move in self.classes.moves)))
        factors = list(self._factors())
        silent = [_options(value, self.hints) for value in self.classes.silent.values()]
        for guess in sorted(product(*silent), key=self._guesses):
            for choice in factors:
                fields = _scaled(self.classes.moves, choice) | dict(zip(self.classes.silent, guess, strict=True))
                yield {path: value for path, value in fields.items() if value != dense[path]}

    def _factors(self) -> Iterator[tuple[Fraction, ...]]:
        """Yield one factor for each move, where those that multiply into one axis give its wanted ratio."""
        moved = Counter(axis for move in self.classes.moves for axis in move.effect if axis in self.wanted)
        options = [self._solve(move, moved) for move in self.classes.moves]
        products = self._products()
        for choice in product(*options):
            if all(prod(choice[place] for place in places) == ratio for places, ratio in products):
                yield choice

    def _guesses(self, guess: tuple[int, ...]) -> int:
        return sum(value != dense for value, dense in zip(guess, self.classes.silent.values(), strict=True))

    def _solve(self, move: Move, moved: Counter[Axis]) -> list[Fraction]:
        """Return the factors by which `move` may scale its fields: one if an axis only it moves tells, else guesses."""
        alone = [axis for axis in move.effect if moved[axis] == 1]
        told: dict[Fraction, Axis] = {}
        for axis in alone:
            offset, slope = move.effect[axis]
            told.setdefault((self.wanted[axis] - offset) / slope, axis)
        if len(told) > 1 or not all(_whole(move, factor) for factor in told):
            self._refuse(move, list(told.values()))
        if told:
            return list(told)
        ratios = {Fraction(self.wanted[axis], self.classes.sizes[axis]) for axis in move.effect if axis in self.wanted}
        hinted = {Fraction(slim, value) for value in move.fields.values() for slim in self.hints.get(value, ())}
        options = sorted(ratios | hinted | {Fraction(1)}, key=lambda factor: (factor not in hinted, -factor))
        return [factor for factor in options if _whole(move, factor)]

    def _refuse(self, move: Move, axes: list[Axis]) -> None:
        fields = " and ".join(field_name(path) for path in move.fields)
        sizes = " but ".join(f"{_show(axis)} is {self.classes.sizes[axis]} -> {self.wanted[axis]}" for axis in axes[:2])
        raise DeployError(
            f"no config of {self.model_cls.__name__} has the slim shapes",
            cause=f"{fields} alone sets these: {sizes}",
            remedy=_REMEDY,
        )

    def _products(self) -> dict[tuple[tuple[int, ...], Fraction], Axis]:
        """Return (places of the moves that multiply into an axis, wanted ratio) -> one such axis."""
        products: dict[tuple[tuple[int, ...], Fraction], Axis] = {}
        for axis, size in self.wanted.items():
            movers = [place for place, move in enumerate(self.classes.moves) if axis in move.effect]
            if len(movers) > 1 and all(self.classes.moves[place].effect[axis][0] == 0 for place in movers):
                products.setdefault((tuple(movers), Fraction(size, self.classes.sizes[axis])), axis)
        return products

    def _build(self, fields: Mapping[Path, int]) -> PretrainedConfig | str:
        """Return the config with these fields if it gives the wanted shapes, or what is wrong with it."""
        try:
            slim = with_fields(self.classes.config, fields)
            sizes = meta_sizes(self.model_cls, slim)
        except Exception as err:  # a class refuses a config with any exception it likes
            return f"the class refuses it: {' '.join(str(err).split()) or type(err).__name__}"
        if sizes.keys() != self.classes.sizes.keys():
            return "the class then has other parameters"
        wrong = (axis for axis, size in self.wanted.items() if sizes[axis] != size)
        axis = next(wrong, None)
        return slim if axis is None else f"{_show(axis)} is {sizes[axis]}, not {self.wanted[axis]}"


def _options(value: int, hints: Mapping[int, Set[int]]) -> list[int]:
    """Return the values a field that no shape shows may take: its own, and what became of groups of that size."""
    return list(dict.fromkeys([value, *sorted(hints.get(value, ()), reverse=True)]))


def _scaled(moves: Sequence[Move], factors: Sequence[Fraction]) -> dict[Path, int]:
    values: dict[Path, Fraction] = {}
    for move, factor in zip(moves, factors, strict=True):
        for path, value in move.fields.items():
            values[path] = values.get(path, Fraction(value)) * factor
    return {path: int(value) for path, value in values.items()}


def _whole(move: Move, factor: Fraction) -> bool:
    return factor > 0 and all((value * factor).denominator == 1 for value in move.fields.values())


def _show(axis: Axis) -> str:
    name, dim = axis
    return f"axis {dim} of {name}"
