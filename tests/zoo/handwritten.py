"""Models that are of no library: torch's own transformer layers, and ways of computing a pruner could get wrong."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from zoo.entry import HEADS, INNER, LAYERS, VOCABULARY, WIDTH, Entry, Inputs

HANDWRITTEN: dict[str, Entry] = {}
EXPERTS = 3


def entry(inputs: Callable[[int, int], Inputs]) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Add a model to the zoo, under its name in lower case."""

    def add(cls: type[nn.Module]) -> type[nn.Module]:
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in cls.__name__).lstrip("_")
        HANDWRITTEN[name] = Entry(cls, inputs)
        return cls

    return add


def tokens(batch: int, length: int) -> Inputs:
    """Token ids."""
    generator = torch.Generator().manual_seed(batch * 100 + length)
    return {"ids": torch.randint(VOCABULARY, (batch, length), generator=generator)}


def two_texts(batch: int, length: int) -> Inputs:
    """Token ids of a source and of the start of its translation."""
    return {**tokens(batch, length), "decoder_ids": tokens(batch, length // 2 + 1)["ids"]}


def features(batch: int, length: int) -> Inputs:
    """Features at a fixed number of places."""
    return {"x": torch.randn(batch, 9, 10, generator=torch.Generator().manual_seed(batch))}


def pictures(batch: int, length: int) -> Inputs:
    """Pictures."""
    return {"x": torch.randn(batch, 3, 16, 16, generator=torch.Generator().manual_seed(batch))}


@entry(tokens)
class TorchEncoder(nn.Module):
    """`nn.TransformerEncoder` between an embedding and its transpose."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, INNER, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.encoder(self.tokens(ids)) @ self.tokens.weight.T


@entry(two_texts)
class TorchTranslator(nn.Module):
    """`nn.TransformerEncoder` and `nn.TransformerDecoder`, length first."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.head = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, VOCABULARY)
        below, above = nn.TransformerEncoderLayer(WIDTH, HEADS, INNER), nn.TransformerDecoderLayer(WIDTH, HEADS, INNER)
        self.encoder = nn.TransformerEncoder(below, LAYERS, enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(above, LAYERS)

    def forward(self, ids: Tensor, decoder_ids: Tensor) -> Tensor:
        memory = self.encoder(self.tokens(ids).transpose(0, 1))
        return self.head(self.decoder(self.tokens(decoder_ids).transpose(0, 1), memory)).transpose(0, 1)


@entry(features)
class TorchAttention(nn.Module):
    """`nn.MultiheadAttention` of other widths for keys and values, with weights that are looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.other, self.leave = nn.Linear(10, WIDTH), nn.Linear(10, 40), nn.Linear(WIDTH, 3)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, kdim=40, vdim=40, batch_first=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, weights = self.attention(self.enter(x), self.other(x), self.other(x))
        return self.leave(y), weights


@entry(pictures)
class SqueezeExcite(nn.Module):
    """Convolutions, in groups and one a channel, with batch norm, and a gate for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm = nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.grouped = nn.Conv2d(32, 48, 3, padding=1, groups=4)
        self.squeeze, self.excite = nn.Conv2d(48, 8, 1), nn.Conv2d(8, 48, 1)
        self.spread, self.leave = nn.GroupNorm(4, 48), nn.Linear(48, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.enter(x)))
        x = self.grouped(x + self.depthwise(x))
        gate = self.excite(functional.silu(self.squeeze(functional.adaptive_avg_pool2d(x, 1))))
        x = self.spread(functional.max_pool2d(x * gate.sigmoid(), 2))
        return self.leave(x.mean((2, 3)))


@entry(features)
class Mixer(nn.Module):
    """An MLP-Mixer: layers over the places, then over the features."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(10, WIDTH), nn.Linear(WIDTH, 3)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2 * LAYERS))
        self.places = nn.ModuleList(_two_layers(9, 20) for _ in range(LAYERS))
        self.channels = nn.ModuleList(_two_layers(WIDTH, INNER) for _ in range(LAYERS))

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for i, (place, channel) in enumerate(zip(self.places, self.channels, strict=True)):
            x = x + place(self.norms[2 * i](x).transpose(1, 2)).transpose(1, 2)
            x = x + channel(self.norms[2 * i + 1](x))
        return self.leave(x.mean(1))


def _two_layers(width: int, inner: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))


@entry(tokens)
class SharedPositions(nn.Module):
    """One table of relative positions for the heads of all layers, and key heads repeated for the queries."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.table = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(17, HEADS)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(LAYERS))
        self.q, self.o = (nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)) for _ in range(2))
        self.kv = nn.ModuleList(nn.Linear(WIDTH, 2 * WIDTH // 2) for _ in range(LAYERS))

    def forward(self, ids: Tensor) -> Tensor:
        x, place = self.tokens(ids), torch.arange(ids.shape[1])
        bias = self.table((place[:, None] - place[None]).clamp(-8, 8) + 8).permute(2, 0, 1)
        for norm, q, kv, o in zip(self.norms, self.q, self.kv, self.o, strict=True):
            y = norm(x)
            query = q(y).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            key, value = kv(y).unflatten(-1, (2, HEADS // 2, -1)).permute(2, 0, 3, 1, 4)
            key, value = key.repeat_interleave(2, 1), value.repeat_interleave(2, 1)
            scores = query @ key.transpose(-1, -2) * (WIDTH // HEADS) ** -0.5 + bias
            x = x + o((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))
        return x @ self.tokens.weight.T


@entry(features)
class NormedWeights(nn.Module):
    """Layers whose weights are a direction and a length."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = weight_norm(nn.Linear(10, WIDTH)), nn.Linear(WIDTH, 3)
        self.conv = weight_norm(nn.Conv1d(WIDTH, INNER, 3, padding=1, groups=2), dim=2)
        self.back = weight_norm(nn.Linear(INNER, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        return self.leave(x + self.back(functional.gelu(self.conv(x.transpose(1, 2)).transpose(1, 2))))


@entry(features)
class StackedExperts(nn.Module):
    """The weights of all experts in one tensor, each weighed by a gate of its own: an expert is a unit."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave, self.gate = nn.Linear(10, WIDTH), nn.Linear(WIDTH, 3), nn.Linear(WIDTH, EXPERTS)
        self.up = nn.Parameter(torch.randn(EXPERTS, WIDTH, 2 * INNER) / 8)
        self.down = nn.Parameter(torch.randn(EXPERTS, INNER, WIDTH) / 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        gate, value = torch.einsum("bsd,edf->besf", x, self.up).chunk(2, -1)
        made = torch.einsum("besf,efd->besd", functional.silu(gate) * value, self.down)
        return self.leave(x + (made * self.gate(x).sigmoid().transpose(1, 2)[..., None]).sum(1))


@entry(tokens)
class FusedGpt(nn.Module):
    """Queries, keys and values from one projection, a fused gate, and one matrix under three names."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.head = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.also = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.head.weight = self.also.weight = self.tokens.weight
        self.qkv, self.o = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.both, self.down = nn.Linear(WIDTH, 2 * INNER), nn.Linear(INNER, WIDTH)
        self.norm, self.last = nn.RMSNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        x = self.tokens(ids)
        q, k, v = self.qkv(self.norm(x)).view(*ids.shape, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        x = x + self.o(functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        gate, value = self.both(x).chunk(2, -1)
        x = self.last(x + self.down(functional.silu(gate) * value))
        return self.head(x), self.also(torch.tanh(x))
