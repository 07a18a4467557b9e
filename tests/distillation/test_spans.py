"""Plain text becomes source and target."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from text import sentences, tokenizer

from fxprune.distillation.spans import chosen_spans, corrupted, sentinels_of, start_token, with_decoder
from fxprune.errors import DataError


@pytest.mark.parametrize("length", [2, 3, 8, 61, 128])
@pytest.mark.parametrize("probability", [0.01, 0.15, 0.5, 0.99])
def test_spans_do_not_touch_and_take_their_share(length: int, probability: float) -> None:
    spans = chosen_spans(length, probability, 1000, torch.Generator().manual_seed(3))
    taken = sum(stop - start for start, stop in spans)
    assert taken == min(max(round(length * probability), 1), length - 1)
    ends = [0, *(end for span in spans for end in span)]
    assert ends == sorted(set(ends))  # each starts after the one before has ended
    assert ends[-1] <= length


def test_a_token_alone_has_no_room() -> None:
    with pytest.raises(DataError, match="a block of 1 tokens has no room for a span"):
        chosen_spans(1, 0.15, 9, torch.Generator())


def words(*extra: str, mask: bool = False) -> object:
    import copy

    own = copy.deepcopy(tokenizer(mask=mask))
    own.add_tokens(list(extra))
    return own


def blocks(own: object, length: int = 30) -> torch.Tensor:
    ids = own(" ".join(sentences(20)), add_special_tokens=False)["input_ids"]  # type: ignore[operator]
    first, last = own.cls_token_id, own.sep_token_id  # type: ignore[attr-defined]
    return torch.tensor([[first, *ids[i : i + length - 2], last] for i in range(0, 90, 30)])


def test_sentinels_stand_for_spans_and_bring_the_text_back() -> None:
    own = words(*(f"<extra_id_{i}>" for i in (1, 0, 2, 3)))
    sentinels = sentinels_of(own)
    assert own.convert_ids_to_tokens(sentinels) == [f"<extra_id_{i}>" for i in range(4)]  # type: ignore[attr-defined]
    ids = blocks(own)
    batch = corrupted(ids, own, 0, torch.Generator().manual_seed(0), 0.3)
    assert batch.labels is not None
    for row, source, target in zip(
        ids.tolist(), batch.inputs["input_ids"].tolist(), batch.labels.tolist(), strict=True
    ):
        assert target[-1] == row[-1]  # the end
        gone: dict[int, list[int]] = {}
        for token in target[:-1]:
            if token in sentinels:
                mark = token
                gone[mark] = []
            else:
                gone[mark].append(token)
        whole = [token for mark in source for token in gone.get(mark, [mark])]
        assert whole == row
        assert len(gone) == 3


def test_with_a_mask_token_the_whole_block_is_written() -> None:
    own = words(mask=True)
    ids = blocks(own)
    batch = corrupted(ids, own, 0, torch.Generator().manual_seed(0), 0.3)
    assert batch.labels is not None
    assert torch.equal(batch.labels, ids[:, 1:])
    assert (batch.inputs["input_ids"] == own.mask_token_id).sum(1).tolist() == [3, 3, 3]  # type: ignore[attr-defined]
    assert batch.inputs["input_ids"].shape[1] == 30 - 8 + 3


def test_with_neither_the_second_half_is_written() -> None:
    own = words()
    ids = blocks(own)
    batch = corrupted(ids, own, 0, torch.Generator(), 0.15)
    assert batch.labels is not None
    assert torch.equal(batch.labels, ids[:, 15:])
    assert torch.equal(batch.inputs["input_ids"], torch.cat([ids[:, :15], ids[:, -1:]], 1))


def test_a_decoder_sees_its_labels_one_position_late() -> None:
    batch = with_decoder(torch.ones(1, 2), torch.tensor([[5, 6, 7]]), 9)
    assert batch.inputs["decoder_input_ids"].tolist() == [[9, 5, 6]]


def test_a_decoder_starts_with_what_the_config_says() -> None:
    own = SimpleNamespace(bos_token_id=None, pad_token_id=3)
    assert start_token(SimpleNamespace(decoder_start_token_id=0), own) == 0
    assert start_token(SimpleNamespace(decoder_start_token_id=None), own) == 3
    with pytest.raises(DataError, match="no token a decoder could start with"):
        start_token(None, None)
