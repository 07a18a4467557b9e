"""The values of symbolic sizes in one run: batch and length, and those that data makes, read off the tensors."""

from __future__ import annotations

from math import prod

from torch import Tensor

from fxprune.axes import Axis, size_of
from fxprune.sizes import Size, Symbolic


class Symbols:
    """What each symbol stands for."""

    def __init__(self) -> None:
        self._values: dict[str, int] = {}

    def learn(self, axes: tuple[Axis, ...], value: Tensor) -> None:
        """Compare the axes of a tensor with its shape."""
        for axis, actual in zip(axes, value.shape, strict=True):
            size = size_of(axis)
            if isinstance(size, Symbolic) and len(size.symbols) == 1:
                self._values.setdefault(size.symbols[0], actual // size.coefficient)

    def __call__(self, size: Size) -> int | None:
        """Return a size in this run; None if it holds symbols no tensor has shown."""
        if isinstance(size, int):
            return size
        known = [self._values[symbol] for symbol in size.symbols if symbol in self._values]
        return size.coefficient * prod(known) if len(known) == len(size.symbols) else None
