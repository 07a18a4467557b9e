"""Random transformer-like programs as data: any list of five small numbers a step is a model that runs.

Numbers are read modulo what is there to choose from, and a step that does not fit is left out, so hypothesis may shrink
a program freely, and a program that once failed is kept as the list it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

Code = tuple[int, int, int, int, int]  # which step, and four choices
Dims = tuple[int, ...]  # the feature dimensions of a value, behind batch and tokens
Run = Callable[[list[Tensor]], Tensor]

VOCABULARY, WIDTH, WIDEST = 23, 12, 48
WIDTHS = (12, 8, 6, 4, 16)


@dataclass(frozen=True)
class Made:
    """What a step computes, and the feature dimensions of the result."""

    run: Run
    dims: Dims


class Builder:
    """The values a program has so far, and the layers it uses."""

    def __init__(self) -> None:
        self.layers = nn.ModuleList()
        self.weights = nn.ParameterList()
        self.dims: list[Dims] = [(WIDTH,), (3, 4)]
        self.running: Program | None = None  # a copy of the program has layers of its own

    def value(self, choice: int, fits: Callable[[Dims], bool] = lambda dims: True) -> int | None:
        """Choose a value that fits; the newest comes first."""
        fitting = [place for place in reversed(range(len(self.dims))) if fits(self.dims[place])]
        return fitting[choice % len(fitting)] if fitting else None

    def like(self, choice: int, other: int) -> int:
        """Choose a value of the same dimensions, maybe the same one."""
        found = self.value(choice, lambda dims: dims == self.dims[other])
        assert found is not None
        return found

    def layer(self, layer: nn.Module) -> Callable[..., Any]:
        """Register a layer; what comes back is that layer of whichever copy runs."""
        self.layers.append(layer)
        return self.at(len(self.layers) - 1)

    def at(self, place: int) -> Callable[..., Any]:
        """Return the layer at `place` of whichever copy runs."""
        return lambda *args, **kwargs: self.module(place)(*args, **kwargs)

    def module(self, place: int) -> Any:
        """Return the module itself, while a copy runs."""
        assert self.running is not None
        return self.running.layers[place]

    def weight(self, *shape: int) -> Callable[[], Tensor]:
        """Register a parameter; it is asked for when the program runs."""
        place = len(self.weights)
        self.weights.append(nn.Parameter(torch.randn(shape) * 0.5))

        def of_now() -> Tensor:
            assert self.running is not None
            return self.running.weights[place]

        return of_now


Maker = Callable[[Builder, int, int, int, int], Made | None]


class Program(nn.Module):
    """Embeds tokens, runs the steps on them and on heads made of them, and reads out the last four values.

    Args:
        codes: the steps.
        makers: what a step may be.
        seed: of the weights.
    """

    def __init__(self, codes: Sequence[Code], makers: Sequence[Maker], seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        builder = Builder()
        self.tokens, self.heads = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, 12)
        self.steps: list[Run] = []
        self.names: list[str] = []
        for kind, *choices in codes:
            maker = makers[kind % len(makers)]
            made = maker(builder, *choices)
            if made is not None and 0 < prod(made.dims) <= WIDEST and len(made.dims) <= 4:
                self.steps.append(made.run)
                self.names.append(maker.__name__)
                builder.dims.append(made.dims)
        self.layers, self.weights = builder.layers, builder.weights
        self.start = lambda program: setattr(builder, "running", program)  # a function is shared by all copies
        _vary(self)
        self.dims = builder.dims
        self.tied = bool(codes and codes[0][1] % 2)
        self.readout = nn.Linear(sum(map(prod, self.dims[-4:])), 3)

    def forward(self, ids: Tensor) -> tuple[Tensor, ...]:
        self.start(self)
        hidden = self.tokens(ids)
        values = [hidden, self.heads(hidden).unflatten(-1, (3, 4))]
        for step in self.steps:
            values.append(step(values))
        ends = torch.cat([value.flatten(2) for value in values[-4:]], -1)
        if not self.tied:
            return (self.readout(ends),)
        wide = [value for value, dims in zip(values, self.dims, strict=True) if dims == (WIDTH,)]
        return self.readout(ends), wide[-1] @ self.tokens.weight.T

    def __str__(self) -> str:
        return " ".join(f"{name}{list(dims)}" for name, dims in zip(self.names, self.dims[2:], strict=True))


def _vary(program: nn.Module) -> None:
    """Norms start alike everywhere: nothing would notice if their weights were mixed up."""
    with torch.no_grad():
        for parameter in program.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)


def inputs(batch: int, length: int) -> dict[str, Any]:
    """Token ids."""
    generator = torch.Generator().manual_seed(batch * 100 + length)
    return {"ids": torch.randint(VOCABULARY, (batch, length), generator=generator)}
