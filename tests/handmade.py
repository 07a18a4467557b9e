"""Hand-written models, each with one way of computing that a pruner could get wrong."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

HANDMADE: dict[str, type[nn.Module]] = {}
D, H, E, V = 24, 4, 6, 31  # width, heads, head_dim, vocabulary


def handmade(cls: type[nn.Module]) -> type[nn.Module]:
    """Add a model to the collection, under its name in lower case."""
    name = "".join(f"_{c.lower()}" if c.isupper() else c for c in cls.__name__).lstrip("_")
    HANDMADE[name] = cls
    return cls


class OnFloats(nn.Module):
    """A model of (batch, length, width) features."""

    width = 10

    @classmethod
    def inputs(cls, batch: int, length: int) -> dict[str, Tensor]:
        """Random features; the batch is free, the length fixed."""
        generator = torch.Generator().manual_seed(batch)
        return {"x": torch.randn(batch, 7, cls.width, generator=generator)}


class OnTokens(nn.Module):
    """A model of (batch, length) token ids."""

    @classmethod
    def inputs(cls, batch: int, length: int) -> dict[str, Tensor]:
        """Random ids."""
        generator = torch.Generator().manual_seed(batch)
        return {"ids": torch.randint(V, (batch, length), generator=generator)}


class Attention(nn.Module):
    """Multi-head attention with separate projections."""

    def __init__(self, width: int = D, heads: int = H, dim: int = E) -> None:
        super().__init__()
        self.heads, self.dim = heads, dim
        self.q, self.k, self.v = (nn.Linear(width, heads * dim) for _ in range(3))
        self.o = nn.Linear(heads * dim, width)

    def split(self, x: Tensor) -> Tensor:
        """(b, s, heads * dim) as (b, heads, s, dim)."""
        return x.view(x.shape[0], x.shape[1], self.heads, self.dim).transpose(1, 2)

    def merge(self, x: Tensor) -> Tensor:
        """And back."""
        return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], -1)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(
            self.merge(functional.scaled_dot_product_attention(*map(self.split, (self.q(x), self.k(x), self.v(x)))))
        )


class Block(nn.Module):
    """Attention and feed-forward, normalised before each."""

    def __init__(self, attention: nn.Module | None = None) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.attention = attention or Attention()
        self.up, self.down = nn.Linear(D, 20), nn.Linear(20, D)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class FusedAttention(Attention):
    """One projection for queries, keys and values, taken apart by chunk."""

    def __init__(self) -> None:
        super().__init__()
        del self.q, self.k, self.v
        self.qkv = nn.Linear(D, 3 * D)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = map(self.split, self.qkv(x).chunk(3, dim=-1))
        return self.o(self.merge(functional.scaled_dot_product_attention(q, k, v, is_causal=True)))


@handmade
class FusedQkv(OnTokens):
    """A GPT: one projection for queries, keys and values, and a tied head."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(V, D), nn.Embedding(64, D)
        self.blocks = nn.ModuleList(Block(FusedAttention()) for _ in range(2))
        self.norm = nn.LayerNorm(D)
        self.head = nn.Linear(D, V, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


@handmade
class FusedGlu(OnFloats):
    """A gate and a value from one projection, in halves."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.both = nn.Linear(10, D), nn.Linear(D, 32)
        self.down, self.leave = nn.Linear(16, D), nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        gate, value = self.both(x).chunk(2, dim=-1)
        return self.leave(x + self.down(functional.silu(gate) * value))


@handmade
class EinsumAttention(OnFloats):
    """Heads as an axis of their own in the weights, softmax written out."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(10, D), nn.Linear(D, 3)
        self.q, self.k, self.v = (nn.Parameter(torch.randn(D, H, E) / 5) for _ in range(3))
        self.o = nn.Parameter(torch.randn(H, E, D) / 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        q, k, v = (torch.einsum("bsd,dhe->bhse", x, w) for w in (self.q, self.k, self.v))
        weights = (torch.einsum("bhqe,bhke->bhqk", q, k) * E**-0.5).softmax(-1)
        mixed = torch.einsum("bhqk,bhke->bqhe", weights, v)
        return self.leave(x + torch.einsum("bqhe,hed->bqd", mixed, self.o))


@handmade
class TiedThreeWays(OnTokens):
    """One matrix as embedding, as head, and as both maps of an autoencoder of the width."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(V, D)
        self.head = nn.Linear(D, V, bias=False)
        self.head.weight = self.tokens.weight
        self.other = nn.ModuleDict({"head": self.head})
        self.narrow = nn.Linear(D, 8, bias=False)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        x = self.tokens(ids)
        x = x + torch.tanh(self.narrow(x)) @ self.narrow.weight
        return self.other["head"](x), functional.linear(torch.relu(x), self.tokens.weight)


@handmade
class NoRule(OnFloats):
    """Sorts its inner features, which no rule describes; the rest can be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.up = nn.Linear(10, D), nn.Linear(D, 16)
        self.sorter = Sorter()
        self.down, self.leave = nn.Linear(16, D), nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        return self.leave(x + self.down(self.sorter(self.up(x))))


class Sorter(nn.Module):
    """Sorts the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sort(dim=-1).values


@handmade
class ConvStem(nn.Module):
    """Convolutions, one of them depthwise, then a transformer over the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.point = nn.Conv2d(12, D, 1)
        self.token = nn.Parameter(torch.randn(1, 1, D))
        self.block = Block()
        self.head = nn.Linear(D, 5)

    @classmethod
    def inputs(cls, batch: int, length: int) -> dict[str, Tensor]:
        """Pictures."""
        return {"x": torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(batch))}

    def forward(self, x: Tensor) -> Tensor:
        x = self.point(functional.gelu(self.depthwise(functional.relu(self.stem(x)))))
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
        return self.head(self.block(x).mean(1))


@handmade
class FoldedHeads(OnFloats):
    """Batch and heads folded into one axis, as in DeBERTa, with a bias for each head added by baddbmm, as in BLOOM."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(10, D), nn.Linear(D, 3)
        self.attention = Attention()
        self.register_buffer("slopes", torch.linspace(0.1, 1.0, H))

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        b, s = x.shape[0], x.shape[1]
        q, k, v = (
            self.attention.split(f(x)).reshape(-1, s, E) for f in (self.attention.q, self.attention.k, self.attention.v)
        )
        distance = torch.arange(s, dtype=x.dtype)
        alibi = (self.slopes[None, :, None, None] * distance).expand(b, H, 1, s).reshape(-1, 1, s)
        weights = torch.baddbmm(alibi, q, k.transpose(1, 2), alpha=E**-0.5).softmax(-1)
        mixed = torch.bmm(weights, v).view(-1, H, s, E)
        return self.leave(x + self.attention.o(self.attention.merge(mixed)))


@handmade
class CountedFold(OnFloats):
    """Folds batch and heads, and computes with the size of that axis: the heads stay whole."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(10, D), nn.Linear(D, 3)
        self.attention = Attention()

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        q, k, v = (
            self.attention.split(f(x)).flatten(0, 1) for f in (self.attention.q, self.attention.k, self.attention.v)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v)
        mixed = mixed.view(mixed.shape[0] // H, H, mixed.shape[1], E)
        return self.leave(x + self.attention.o(self.attention.merge(mixed)))


@handmade
class TalkingHeads(OnFloats):
    """Heads mix before and after the softmax, and back into themselves: value dims of one head meet another's."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(10, D), nn.Linear(D, 3)
        self.attention = Attention()
        self.before, self.after = nn.Linear(H, H), nn.Linear(H, H)
        self.values = nn.Linear(H, H)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        q, k, v = map(self.attention.split, (self.attention.q(x), self.attention.k(x), self.attention.v(x)))
        scores = self.before((q @ k.transpose(-1, -2)).permute(0, 2, 3, 1))
        weights = self.after(scores.softmax(2)).permute(0, 3, 1, 2)
        v = v + self.values(v.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # every head with every head, dim by dim
        return self.leave(x + self.attention.o(self.attention.merge(weights @ v)))


@handmade
class HeadPairs(OnFloats):
    """Every head compared with every head: one dim stands under two different heads in one product."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(10, D)
        self.heads = nn.Linear(D, H * E)
        self.leave = nn.Linear(H * E, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.heads(self.enter(x)).unflatten(-1, (H, E))
        similar = torch.einsum("bshe,bsge->bshg", y, y).softmax(-1)
        return self.leave((y + similar @ y).flatten(-2))


@handmade
class Rotary(OnFloats):
    """Rotary embedding of neighbours, as in GPT-J: even and odd dims are the two halves, interleaved."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(10, D), nn.Linear(D, 3)
        self.attention = Attention(dim=8)
        self.register_buffer("frequencies", torch.linspace(1.0, 0.1, 4))

    def rotate(self, x: Tensor) -> Tensor:
        """(b, heads, s, dim), each pair of dims by its own angle."""
        angle = torch.arange(x.shape[2], dtype=x.dtype)[:, None] * self.frequencies
        sine, cosine = (f(angle).repeat_interleave(2, -1) for f in (torch.sin, torch.cos))
        turned = torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
        return x * cosine + turned * sine

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        q, k, v = map(self.attention.split, (self.attention.q(x), self.attention.k(x), self.attention.v(x)))
        mixed = functional.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v)
        return self.leave(x + self.attention.o(self.attention.merge(mixed)))


@handmade
class PartialRotary(Rotary):
    """Rotary halves over the first dims of a head only, as in Phi and GPT-NeoX; fused projection, heads outside."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(D, 3 * H * 8)

    def rotate(self, x: Tensor) -> Tensor:
        """The first four dims turn, by two frequencies; the others pass."""
        turning, passing = x[..., :4], x[..., 4:]
        angle = torch.arange(x.shape[2], dtype=x.dtype)[:, None] * self.frequencies[:2]
        angle = torch.cat((angle, angle), -1)
        first, second = turning.chunk(2, -1)
        turned = turning * angle.cos() + torch.cat((-second, first), -1) * angle.sin()
        return torch.cat((turned, passing), -1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        q, k, v = self.qkv(x).view(x.shape[0], x.shape[1], H, 24).transpose(1, 2).chunk(3, -1)
        mixed = functional.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v)
        return self.leave(x + self.attention.o(self.attention.merge(mixed)))


@handmade
class WritesInPlace(OnFloats):
    """Writes into views of its features: what is written to and what is read later are one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.left, self.right = nn.Linear(10, 12), nn.Linear(12, 5), nn.Linear(12, 7)
        self.scale = nn.Parameter(torch.rand(7))
        self.leave = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        joined = x.new_zeros(x.shape[0], x.shape[1], 12)
        joined[..., :5] = self.left(x)
        joined[..., 5:].copy_(self.right(x)).mul_(self.scale)
        joined.add_(x)
        joined[..., 5:] += 1.0
        return self.leave(torch.tanh(joined))


@handmade
class PicksFeatures(OnFloats):
    """Reorders features by a stored permutation, which freezes them, and joins skips of different depth."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.first, self.second = nn.Linear(10, 12), nn.Linear(12, 8), nn.Linear(20, 8)
        self.register_buffer("order", torch.randperm(8, generator=torch.Generator().manual_seed(3)))
        self.leave = nn.Linear(28, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        a = torch.relu(self.first(x))
        b = torch.relu(self.second(torch.cat((x, a), -1)))
        return self.leave(torch.cat((x, a[:, :, self.order], b + a), -1))


@handmade
class SharedBlock(OnFloats):
    """One block used three times, and a unit norm written out by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.block, self.leave = nn.Linear(10, D), Block(), nn.Linear(D, 3)
        self.gain = nn.Parameter(torch.rand(D))

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for _ in range(3):
            x = self.block(x)
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + 1e-5).sqrt() * self.gain
        x = x / x.norm(dim=-1, keepdim=True) + x / x.std(-1, keepdim=True)
        return self.leave(functional.rms_norm(x, (D,), self.gain))


@handmade
class TwoAxisNorm(OnFloats):
    """A norm over two axes at once, squeeze and excitation over the tokens, and grouped queries by repeating."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(10, D), nn.Linear(D, 3)
        self.tokens, self.norm = nn.Linear(7, 9), nn.LayerNorm((9, D))
        self.squeeze, self.excite = nn.Linear(D, 6), nn.Linear(6, D)
        self.q, self.kv = nn.Linear(D, 4 * E), nn.Linear(D, 2 * 2 * E)
        self.o = nn.Linear(4 * E, D)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        x = self.norm(self.tokens(x.mT).mT)
        x = x * torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean(1))))).unsqueeze(1)
        q = self.q(x).unflatten(-1, (4, E)).transpose(1, 2)
        k, v = self.kv(x).unflatten(-1, (2, 2, E)).permute(2, 0, 3, 1, 4).unbind(0)
        k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        return self.leave(x + self.o(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)))


@handmade
class CountsFeatures(OnFloats):
    """Constants as wide as the features: an arange freezes them, ones and zeros follow."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.ranked, self.free = nn.Linear(10, 12), nn.Linear(12, 8), nn.Linear(12, 8)
        self.leave = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x) * x.shape[0] + torch.ones(12, dtype=x.dtype)
        ranked = self.ranked(x) * torch.arange(8, dtype=x.dtype)
        free = torch.where(self.free(x) > 0, self.free(x), torch.zeros(8, dtype=x.dtype)) + torch.full((1, 8), 0.5)
        return self.leave(torch.cat((ranked, free.clamp(min=0.1)), -1))
