"""The demo teacher before it is trained: its recipe, its vocabulary, and weights that already look at neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LENGTH = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train; the defaults made the teacher that is shipped."""

    vocab: int = 8000
    hidden: int = 256
    layers: int = 4
    ffn: int = 1024
    heads: int = 4
    tokens: int = 2048  # in a batch
    rate: float = 6e-4
    warmup: float = 0.05  # share of the run
    short: float = 0.75  # share of the run with blocks of half the length: cheaper
    neighbours: float = 0.1  # scale of the first layers' queries and keys that look at neighbouring positions
    masked: float = 0.15
    weight_decay: float = 0.01
    seed: int = 0


def train_tokenizer(texts: list[str], size: int) -> BertTokenizerFast:
    """Train a lower-cased WordPiece vocabulary of `size` tokens."""
    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=3, limit_alphabet=200, special_tokens=SPECIAL, show_progress=False
    )
    core.train_from_iterator(texts, trainer)
    core.post_processor = processors.BertProcessing(
        ("[SEP]", SPECIAL.index("[SEP]")), ("[CLS]", SPECIAL.index("[CLS]"))
    )
    return BertTokenizerFast(tokenizer_object=core, do_lower_case=True, model_max_length=LENGTH)


def build(recipe: Recipe, vocab: int) -> BertForMaskedLM:
    """Return the untrained model; no dropout, because a short run on a small model underfits."""
    config = BertConfig(
        vocab_size=vocab,
        hidden_size=recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        intermediate_size=recipe.ffn,
        max_position_embeddings=LENGTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=SPECIAL.index("[PAD]"),
    )
    model = BertForMaskedLM(config)
    with torch.no_grad():
        look_at_neighbours(model, recipe)
    return model


def look_at_neighbours(model: BertForMaskedLM, recipe: Recipe) -> None:
    """Start the position table as sine waves, and the heads of two layers looking one to three tokens left or right.

    A short run on a small model otherwise spends a third of its time before it finds out that neighbours matter. With
    waves P(p), a rotation R(d) takes P(p) to P(p + d); a query W P and a key W R(-d) P then meet where the key stands
    d tokens further on.
    """
    half = recipe.hidden // 2
    speeds = 3 * 150.0 ** (-torch.arange(half) / half)
    phases = torch.arange(LENGTH)[:, None] * speeds
    waves = torch.cat([phases.sin(), phases.cos()], 1)
    model.bert.embeddings.position_embeddings.weight.copy_(waves * 0.02 * 2**0.5)
    generator = torch.Generator().manual_seed(recipe.seed)
    size = recipe.hidden // recipe.heads
    for layer, distances in zip(model.bert.encoder.layer, [[-1, 1, -2, 2], [-1, 1, -3, 3]], strict=False):
        attention = layer.attention.self
        for head, distance in enumerate(distances):
            rows = slice(head * size, head * size + size)
            weight = torch.randn(size, recipe.hidden, generator=generator) * recipe.neighbours
            attention.query.weight[rows] = weight
            attention.key.weight[rows] = weight @ rotation(speeds, -distance)


def rotation(speeds: Tensor, distance: int) -> Tensor:
    """Return the matrix that moves sine and cosine waves by `distance` positions."""
    cos, sin = torch.diag((speeds * distance).cos()), torch.diag((speeds * distance).sin())
    return torch.cat([torch.cat([cos, sin], 1), torch.cat([-sin, cos], 1)], 0)
