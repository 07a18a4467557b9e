"""Random models: chains of the ways transformers reshape, join, cut and mix their features."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

TOKENS, INPUT = 7, 10
Step = Callable[[list[Tensor]], Tensor]


class RandomModel(nn.Module):
    """Applies random steps to a growing list of (batch, tokens, width) features and reads out all of them."""

    def __init__(self, seed: int, length: int = 9) -> None:
        super().__init__()
        self.choice = random.Random(seed)
        self.layers = nn.ModuleList()
        self.names: list[str] = []
        self.steps: list[Step] = [self._linear(INPUT, 12, 0)]
        self.widths = [12]
        while len(self.widths) < length:
            step, width = self.choice.choice(_STEPS)(self)
            if step is not None and width <= 48:
                self.steps.append(step)
                self.widths.append(width)
        self.readout = nn.Linear(sum(self.widths), 3)

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        values[0] = self.steps[0](values)
        for step in self.steps[1:]:
            values.append(step(values))
        return self.readout(torch.cat(values, -1))

    def add(self, layer: nn.Module) -> nn.Module:
        """Register a layer."""
        self.layers.append(layer)
        return layer

    def pick(self, divisor: int = 1) -> tuple[int, int] | None:
        """A random feature (place, width) whose width is a multiple of `divisor`."""
        fitting = [(i, w) for i, w in enumerate(self.widths) if w % divisor == 0 and w > divisor]
        return self.choice.choice(fitting) if fitting else None

    def _linear(self, width: int, out: int, place: int) -> Step:
        layer = self.add(nn.Linear(width, out))
        return lambda values: layer(values[place])


Made = tuple[Step | None, int]
NOTHING: Made = (None, 0)


def linear(model: RandomModel) -> Made:
    i, width = model.pick() or (0, 12)
    out = model.choice.choice([4, 6, 8, 12, 18, 24])
    return model._linear(width, out, i), out


def pointwise(model: RandomModel) -> Made:
    i, width = model.pick() or (0, 12)
    function = model.choice.choice([torch.cos, functional.gelu, torch.tanh, lambda x: x * 2 + 1, torch.neg])
    return (lambda values: function(values[i])), width


def residual(model: RandomModel) -> Made:
    i, width = model.pick() or (0, 12)
    same = [j for j, w in enumerate(model.widths) if w == width]
    j = model.choice.choice(same)
    gate = model.choice.random() < 0.5
    return (lambda values: values[i] * values[j] if gate else values[i] + values[j]), width


def norm(model: RandomModel) -> Made:
    i, width = model.pick() or (0, 12)
    layer = model.add(model.choice.choice([nn.LayerNorm, nn.RMSNorm])(width))
    return (lambda values: layer(values[i])), width


def join(model: RandomModel) -> Made:
    (i, a), (j, b) = model.pick() or (0, 12), model.pick() or (0, 12)
    return (lambda values: torch.cat((values[i], values[j]), -1)), a + b


def rotate_halves(model: RandomModel) -> Made:
    picked = model.pick(2)
    if picked is None:
        return NOTHING
    i, width = picked

    def step(values: list[Tensor]) -> Tensor:
        a, b = values[i].chunk(2, -1)
        return values[i] + torch.cat((-b, a), -1)

    return step, width


def cut_out(model: RandomModel) -> Made:
    i, width = model.pick(2) or (0, 12)
    start = model.choice.randrange(width - 1)
    end = model.choice.randrange(start + 1, width)
    return (lambda values: values[i][..., start:end]), end - start


def every_other(model: RandomModel) -> Made:
    picked = model.pick(2)
    if picked is None:
        return NOTHING
    (i, width), phase = picked, model.choice.randrange(2)
    return (lambda values: values[i][..., phase::2]), width // 2


def interleave(model: RandomModel) -> Made:
    i, width = model.pick() or (0, 12)
    same = [j for j, w in enumerate(model.widths) if w == width]
    j = model.choice.choice(same)
    return (lambda values: torch.stack((values[i], values[j]), -1).flatten(-2)), 2 * width


def transpose_inside(model: RandomModel) -> Made:
    heads = model.choice.choice([2, 3, 4])
    picked = model.pick(heads)
    if picked is None:
        return NOTHING
    i, width = picked
    return (lambda values: values[i].unflatten(-1, (heads, width // heads)).transpose(-1, -2).flatten(-2)), width


def repeat_heads(model: RandomModel) -> Made:
    heads = model.choice.choice([2, 3])
    picked = model.pick(heads)
    if picked is None or picked[1] > 16:
        return NOTHING
    (i, width), inner = picked, model.choice.random() < 0.5

    def step(values: list[Tensor]) -> Tensor:
        split = values[i].unflatten(-1, (heads, width // heads))
        repeated = split.repeat_interleave(2, 2) if inner else split.repeat(1, 1, 2, 1)
        return repeated.flatten(-2)

    return step, 2 * width


def attention(model: RandomModel) -> Made:
    heads = model.choice.choice([2, 3, 4])
    picked = model.pick(heads)
    if picked is None:
        return NOTHING
    i, width = picked
    same = [j for j, w in enumerate(model.widths) if w == width]
    j, k = model.choice.choice(same), model.choice.choice(same)
    fused = model.choice.random() < 0.5

    def step(values: list[Tensor]) -> Tensor:
        q, key, v = (values[n].unflatten(-1, (heads, -1)).transpose(1, 2) for n in (i, j, k))
        if fused:
            mixed = functional.scaled_dot_product_attention(q, key, v)
        else:
            mixed = (q @ key.transpose(-1, -2) * 0.3).softmax(-1) @ v
        return mixed.transpose(1, 2).reshape(v.shape[0], TOKENS, width)

    return step, width


def mix_heads(model: RandomModel) -> Made:
    heads = model.choice.choice([2, 3, 4])
    picked = model.pick(heads)
    if picked is None:
        return NOTHING
    i, width = picked
    layer = model.add(nn.Linear(heads, heads))
    return (lambda values: layer(values[i].unflatten(-1, (heads, -1)).mT).mT.flatten(-2)), width


def gate_by_mean(model: RandomModel) -> Made:
    i, width = model.pick() or (0, 12)
    over_tokens = model.choice.random() < 0.5
    return (lambda values: values[i] * values[i].mean(1 if over_tokens else -1, keepdim=True)), width


def write_in_place(model: RandomModel) -> Made:
    picked = model.pick(2)
    if picked is None:
        return NOTHING
    i, width = picked

    def step(values: list[Tensor]) -> Tensor:
        fresh = torch.zeros_like(values[i])
        fresh[..., : width // 2] = values[i][..., width // 2 :]
        fresh[..., width // 2 :].add_(1.0)
        return fresh

    return step, width


def shared_linear(model: RandomModel) -> Made:
    """One weight in two places, or once each way."""
    i, width = model.pick() or (0, 12)
    j = model.choice.choice([j for j, w in enumerate(model.widths) if w == width])
    layer = model.add(nn.Linear(width, 8))
    if model.choice.random() < 0.5:
        return (lambda values: layer(values[i]) * layer(values[j])), 8
    return (lambda values: torch.tanh(layer(values[i])) @ layer.weight), width  # type: ignore[operator]


def outer_product(model: RandomModel) -> Made:
    (i, a), (j, b) = model.pick() or (0, 12), model.pick() or (0, 12)
    if a * b > 48:
        return NOTHING
    return (lambda values: torch.einsum("bsi,bsj->bsij", values[i], values[j]).flatten(2)), a * b


def bilinear(model: RandomModel) -> Made:
    heads = model.choice.choice([2, 3])
    picked = model.pick(heads)
    if picked is None:
        return NOTHING
    i, width = picked
    weight = nn.Parameter(torch.randn(heads, width // heads, 5))
    model.register_parameter(f"bilinear{len(model.widths)}", weight)
    return (
        lambda values: torch.einsum("bshe,hef->bshf", values[i].unflatten(-1, (heads, -1)), weight).flatten(2)
    ), heads * 5


def spread(model: RandomModel) -> Made:
    """One head for several, as in grouped queries."""
    i, width = model.pick() or (0, 12)
    if width > 24:
        return NOTHING
    return (
        lambda values: values[i].unsqueeze(-2).expand(-1, -1, 2, -1).reshape(values[i].shape[0], TOKENS, -1)
    ), 2 * width


def not_alike(model: RandomModel) -> Made:
    """Ops to which features are not alike: what they touch must stay whole."""
    i, width = model.pick() or (0, 12)
    function = model.choice.choice(
        [
            lambda x: x.softmax(-1),
            lambda x: x.flip(-1),
            lambda x: x.roll(1, -1),
            lambda x: x.cumsum(-1),
            lambda x: x * torch.arange(width),
            lambda x: x - x.amax(-1, keepdim=True),
            lambda x: x + x[..., :1],
            lambda x: x.sort(-1).values,
        ]
    )
    return (lambda values: function(values[i])), width


def normalise_by_hand(model: RandomModel) -> Made:
    i, width = model.pick() or (0, 12)
    function = model.choice.choice(
        [
            lambda x: x / (x.norm(dim=-1, keepdim=True) + 1),
            lambda x: (x - x.mean(-1, keepdim=True)) * torch.rsqrt(x.var(-1, correction=0, keepdim=True) + 1e-3),
            lambda x: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-3),
            lambda x: x + x.sum(-1, keepdim=True) * 0.1,
        ]
    )
    return (lambda values: function(values[i])), width


def mix_tokens(model: RandomModel) -> Made:
    i, width = model.pick() or (0, 12)
    layer = model.add(nn.Linear(TOKENS, TOKENS))
    return (lambda values: layer(values[i].transpose(1, 2)).transpose(1, 2)), width


_STEPS: list[Callable[[RandomModel], Any]] = [
    linear,
    linear,
    linear,
    pointwise,
    residual,
    residual,
    norm,
    join,
    rotate_halves,
    cut_out,
    every_other,
    interleave,
    transpose_inside,
    repeat_heads,
    attention,
    attention,
    mix_heads,
    gate_by_mean,
    write_in_place,
    shared_linear,
    outer_product,
    bilinear,
    spread,
    not_alike,
    normalise_by_hand,
    mix_tokens,
]


def random_inputs(batch: int) -> dict[str, Tensor]:
    """Features in float64."""
    generator = torch.Generator().manual_seed(batch)
    return {"x": torch.randn(batch, TOKENS, INPUT, generator=generator, dtype=torch.float64)}
