from __future__ import annotations

from itertools import islice

import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from fxprune.distillation.data import fixed_batches, mask_tokens, packed_batches
from fxprune.errors import DataError

WORDS = [f"w{i}" for i in range(95)]


def make_tokenizer(*, masked: bool = True, framed: bool = True) -> PreTrainedTokenizerFast:
    vocab = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", *WORDS])}
    core = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]"} | ({"mask_token": "[MASK]"} if masked else {})
    if framed:
        core.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        names |= {"cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=core, **names)


def make_data(rows: int = 600) -> Dataset:
    texts = [" ".join(WORDS[(7 * row + k) % 95] for k in range(1 + row % 23)) for row in range(rows)]
    return Dataset.from_dict({"text": texts})


def test_blocks_are_full_and_framed_by_special_tokens() -> None:
    batch = next(packed_batches(make_data(), make_tokenizer(), length=16, batch_size=4))
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (4, 16)
    assert batch["input_ids"].dtype == torch.int64
    assert batch["input_ids"][:, 0].tolist() == [2] * 4
    assert batch["input_ids"][:, -1].tolist() == [3] * 4
    assert batch["attention_mask"].all()


def test_a_tokenizer_without_special_tokens_gives_bare_blocks() -> None:
    batch = next(packed_batches(make_data(), make_tokenizer(framed=False), length=16, batch_size=4))
    assert (batch["input_ids"] > 4).all()


def test_batches_are_a_function_of_seed_and_position() -> None:
    def first(seed: int, start: int, stop: int) -> torch.Tensor:
        batches = packed_batches(make_data(), make_tokenizer(), length=16, batch_size=4, seed=seed)
        return torch.cat([batch["input_ids"] for batch in islice(batches, start, stop)])

    assert torch.equal(first(0, 0, 6), first(0, 0, 6))
    assert torch.equal(first(0, 0, 6)[16:], first(0, 4, 6))
    assert not torch.equal(first(0, 0, 6), first(1, 0, 6))


def test_epochs_go_on_without_end_and_are_shuffled_anew() -> None:
    data = make_data(20)
    blocks = packed_batches(data, make_tokenizer(), length=12, batch_size=1)
    epoch = len(list(fixed_batches(data, make_tokenizer(), length=12, batch_size=1, n=10**6)))
    first, second = (torch.cat([next(blocks)["input_ids"] for _ in range(epoch)]) for _ in range(2))
    assert not torch.equal(first, second)


def test_every_token_of_an_epoch_is_seen_once() -> None:
    data, tokenizer = make_data(50), make_tokenizer()
    tokens = [t for ids in tokenizer(data["text"][:], add_special_tokens=False)["input_ids"] for t in [*ids, 3]]
    batches = fixed_batches(data, tokenizer, length=10, batch_size=4, n=10**6)
    got = torch.cat([batch["input_ids"][:, 1:-1].flatten() for batch in batches]).tolist()
    assert got == tokens[: len(got)]
    assert len(tokens) - len(got) < 8


def test_streams_are_packed_like_tables() -> None:
    stream = make_data().to_iterable_dataset()
    table = fixed_batches(make_data(), make_tokenizer(), length=16, batch_size=4, n=3)
    streamed = fixed_batches(stream, make_tokenizer(), length=16, batch_size=4, n=3)
    assert all(torch.equal(a["input_ids"], b["input_ids"]) for a, b in zip(table, streamed, strict=True))
    assert next(packed_batches(stream, make_tokenizer(), length=16, batch_size=4))["input_ids"].shape == (4, 16)


def test_too_little_text_is_refused() -> None:
    data = Dataset.from_dict({"text": ["a", ""]})
    with pytest.raises(DataError, match="not one block of 16 tokens"):
        next(packed_batches(data, make_tokenizer(), length=16, batch_size=4))
    with pytest.raises(DataError, match="not one block of 16 tokens"):
        fixed_batches(data, make_tokenizer(), length=16, batch_size=4, n=1)
    with pytest.raises(DataError, match="a block of 2 tokens has no room"):
        next(packed_batches(data, make_tokenizer(), length=2, batch_size=4))


def masked(probability: float = 0.15) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    ids = torch.randint(5, 100, (200, 100), generator=torch.Generator().manual_seed(1))
    ids[:, 0], ids[:, -1] = 2, 3
    return (ids, *mask_tokens(ids, make_tokenizer(), torch.Generator().manual_seed(0), probability))


def test_masking_keeps_the_shares_of_bert() -> None:
    ids, inputs, labels = masked()
    chosen = labels >= 0
    assert chosen.float().mean().item() == pytest.approx(0.15 * 0.98, abs=0.01)
    assert (inputs[chosen] == 4).float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert (inputs[chosen] == ids[chosen]).float().mean().item() == pytest.approx(0.1, abs=0.03)


def test_labels_are_the_ids_and_nothing_else_moves() -> None:
    ids, inputs, labels = masked()
    chosen = labels >= 0
    assert torch.equal(labels[chosen], ids[chosen])
    assert (labels[~chosen] == -100).all()
    assert torch.equal(inputs[~chosen], ids[~chosen])


def test_special_tokens_are_never_masked() -> None:
    _, inputs, labels = masked(1.0)
    assert (labels[:, [0, -1]] == -100).all()
    assert inputs[:, 0].eq(2).all()
    assert (labels[:, 1:-1] >= 0).all()


def test_masking_repeats_with_the_generator() -> None:
    assert all(torch.equal(a, b) for a, b in zip(masked(), masked(), strict=True))


def test_a_tokenizer_without_mask_token_is_refused() -> None:
    ids = torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(DataError, match="no mask token"):
        mask_tokens(ids, make_tokenizer(masked=False), torch.Generator())
