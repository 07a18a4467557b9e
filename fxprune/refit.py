"""One weight fitted anew: the rows of its regression, from two states of a graph, and the result written in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.fx import GraphModule

from fxprune.axes import Axis, resolve, size_of
from fxprune.consumers import Consumer, laid, unlaid
from fxprune.inferred import Inferred
from fxprune.lockstep import Walk
from fxprune.ridge import GRID, Fit, Gram, Sums, regress
from fxprune.traced import Traced, tensor_of

HELD_OUT_IN = 4  # one set of inputs in four chooses the penalty


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How weights are fitted.

    Attributes:
        grid: penalties to choose from, the strongest first.
        bias: whether the bias beside a weight is fitted too.
        mask: input that tells which positions are padding: those count nothing.
    """

    grid: Sequence[float] = GRID
    bias: bool = True
    mask: str = "attention_mask"


class Padding:
    """Which rows are text, found from the axes a feature shares with the mask."""

    def __init__(self, gm: GraphModule, inferred: Inferred, inputs: Sequence[Mapping[str, Any]], name: str) -> None:
        found = [node for node in gm.graph.nodes if node.op == "placeholder" and node.target == name]
        self.axes = [resolve(axis) for axis in inferred.of(found[0])] if found and found[0] in inferred.axes else []
        masks = [kwargs.get(name) for kwargs in inputs] if len(self.axes) == 2 else []
        self.masks = [None if mask is None or bool(mask.all()) else mask != 0 for mask in masks]

    def rows(self, consumer: Consumer, sizes: Sequence[int], i: int) -> Tensor | None:
        """Return the rows of the inputs `i` that count, over the free dimensions; None: all."""
        places = [[p for p, name in enumerate(consumer.free) if _same(consumer.axes[name], axis)] for axis in self.axes]
        mask = self.masks[i] if self.masks else None
        if mask is None or [len(found) for found in places] != [1, 1]:
            return None
        (row,), (column,) = places
        mask = mask if row < column else mask.T
        shape = [size if place in (row, column) else 1 for place, size in enumerate(sizes)]
        return mask.reshape(shape).expand(*sizes).flatten()


def _same(axis: Axis, other: Axis) -> bool:
    """Tell whether two axes are one: by the factor, or by the symbol of a free size."""
    size = size_of(axis)
    return axis == other or (not isinstance(size, int) and size == size_of(other))


class Refits:
    """Fits weights, one consumer after the other, while two walks go over the graph.

    Args:
        traced: the model after the cut.
        old: its values before.
        new: its values after.
        padding: of the inputs.
        settings: of the fit.
    """

    def __init__(self, traced: Traced, old: Walk, new: Walk, padding: Padding, settings: Settings) -> None:
        self.traced, self.old, self.new, self.padding, self.settings = traced, old, new, padding, settings
        held = [i for i in range(new.count) if i % HELD_OUT_IN == HELD_OUT_IN - 1] or [new.count - 1]
        self.parts = [i for i in range(new.count) if i not in held], held
        self._grams: dict[tuple[Any, ...], list[Gram]] = {}

    @property
    def counts(self) -> tuple[int, int]:
        """How many inputs are fitted to, and held out."""
        return len(self.parts[0]), len(self.parts[1])

    def objection(self, consumer: Consumer) -> str | None:
        """Return why this weight cannot be fitted; nothing is taken on trust that can be checked."""
        operand, parameter = self.new.values[consumer.operand.name][0], tensor_of(self.traced, consumer.weight)
        if not isinstance(parameter, nn.Parameter) or not parameter.is_floating_point():
            return "it is no trained weight"
        if operand.numel() != parameter.numel() or _storage(operand) != _storage(parameter):
            return "it is computed from the parameter"
        if self._seen(consumer) is None:
            return "its features have other dimensions than its rule says"
        return None if self._is_linear(consumer) else f"{consumer.node.target} is not linear in it"

    def fit(self, consumer: Consumer) -> Fit:
        """Fit one weight, and its bias, and write them."""
        consumer = self._seen(consumer) or consumer
        bias = self.settings.bias and consumer.bias is not None
        fitted, held_out = (Sums(gram) for gram in self._features(consumer, bias))
        for total, part in zip((fitted, held_out), self.parts, strict=True):
            for i in part:
                total.add(*self._rows(consumer, bias, i))
        fit = regress(fitted, held_out, self.settings.grid)
        if fit.ridge is not None:
            self._write(consumer, bias, fit.delta)
        return fit

    # ------------------------------------------------------------------ rows

    def _seen(self, consumer: Consumer) -> Consumer | None:
        """Return the consumer as its operand is: where positions were picked, batch and length are one dimension."""
        (x, weight, result), dims = consumer.layout, self.new.values[consumer.x.name][0].ndim
        if dims == len(x):
            return consumer
        picked = dims == len(x) - 1 and x[0] == result[0] and x[1] == result[1] and {*x[:2]} <= {*consumer.free}
        if not picked:
            return None
        free = tuple(name for name in consumer.free if name != x[0])
        return replace(consumer, layout=(x[1:], weight, result[1:]), keep=consumer.keep[1:], free=free)

    def _features(self, consumer: Consumer, bias: bool) -> list[Gram]:
        """Return the products of the features, over the rows to fit and those held out; queries and keys share them."""
        names = consumer.layout[0]
        parts = (consumer.shared, consumer.free, consumer.summed)
        key = (consumer.x.name, bias, *(tuple(names.index(name) for name in part) for part in parts))
        if key not in self._grams:
            self._grams = {known: gram for known, gram in self._grams.items() if known[0] in self.new.values}
            free = 1 if bias else 0
            self._grams[key] = [Gram((self._x(consumer, bias, i) for i in part), free) for part in self.parts]
        return self._grams[key]

    def _x(self, consumer: Consumer, bias: bool, i: int) -> Tensor:
        """Return (s, n, k), with a column of ones for the bias."""
        value = self.new.values[consumer.x.name][i]
        x = self._counted(consumer, laid(value, consumer.layout[0], consumer.shared, consumer.free, consumer.summed), i)
        return torch.cat([x, torch.ones_like(x[..., :1])], -1) if bias else x

    def _rows(self, consumer: Consumer, bias: bool, i: int) -> tuple[Tensor, Tensor, Tensor]:
        wanted = self.old.values[consumer.node.name][i]
        for dim, chosen in enumerate(consumer.keep):
            if chosen is not None:
                wanted = wanted.index_select(dim, chosen.to(wanted.device))
        wanted, got = (self._y(consumer, value, i) for value in (wanted, self.new.call(consumer.node, i)))
        return self._x(consumer, bias, i), wanted - got, wanted

    def _y(self, consumer: Consumer, value: Tensor, i: int) -> Tensor:
        """Return (s, n, o)."""
        return self._counted(
            consumer, laid(value, consumer.layout[2], consumer.shared, consumer.free, consumer.output), i
        )

    def _counted(self, consumer: Consumer, rows: Tensor, i: int) -> Tensor:
        value, names = self.new.values[consumer.x.name][i], consumer.layout[0]
        kept = self.padding.rows(consumer, [value.shape[names.index(name)] for name in consumer.free], i)
        return rows if kept is None else rows[:, kept]

    # ------------------------------------------------------------------ weights

    def _is_linear(self, consumer: Consumer) -> bool:
        """Change the weight at random, and see whether the result changes by the products the rule claims."""
        consumer = self._seen(consumer) or consumer
        weight, names = self.new.values[consumer.operand.name][0], consumer.layout[1]
        draw = torch.randn(weight.shape, generator=Generator().manual_seed(0)).to(weight) * weight.std(correction=0)
        moved, still = (
            self.new.call(consumer.node, 0, {consumer.operand.name: tensor}) for tensor in (weight + draw, weight)
        )
        by = laid(draw, names, consumer.shared, consumer.output, consumer.summed)
        claimed = self._x(consumer, bias=False, i=0) @ by.mT
        got = self._y(consumer, moved - still, 0)
        tolerance = 3 * torch.finfo(weight.dtype).eps ** 0.5 * float(claimed.abs().max())
        return got.shape == claimed.shape and float((got - claimed).abs().max()) <= tolerance

    def _write(self, consumer: Consumer, bias: bool, delta: Tensor) -> None:
        operand = self.new.values[consumer.operand.name][0]
        parts = (consumer.shared, consumer.output)
        if bias:
            assert consumer.bias is not None
            node, names = consumer.bias
            held = self.new.values[node.name][0]
            held.add_(unlaid(delta[..., -1], held.shape, names, *parts).to(held.dtype))
            delta = delta[..., :-1]
        operand.add_(unlaid(delta, operand.shape, consumer.layout[1], *parts, consumer.summed).to(operand.dtype))


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
