"""The length a position table allows is known before capture, which then needs one export, not two."""

from __future__ import annotations

import pytest
import torch
from models import _BERT, _hugging
from torch import nn

from fxprune import tracing
from fxprune.positions import position_rows

pytestmark = pytest.mark.captures


def built(name: str, **fields: object) -> nn.Module:
    torch.manual_seed(0)
    return _hugging(name, **_BERT | fields)().eval()


@pytest.mark.parametrize(("name", "rows"), [("BertModel", 40), ("RobertaModel", 38)])
def test_one_export_is_enough(name: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = built(name, max_position_embeddings=40, pad_token_id=1)
    assert position_rows(model) == rows
    exports, real = [], tracing._export
    monkeypatch.setattr(tracing, "_export", lambda *args, **kwargs: exports.append(1) or real(*args, **kwargs))
    traced = tracing.capture(model, {"input_ids": torch.full((5, 13), 7)})
    assert len(exports) == 1
    for length in (2, rows):
        ids = torch.full((2, length), 7)
        torch.testing.assert_close(traced(input_ids=ids).last_hidden_state, model(ids).last_hidden_state)


def test_an_example_longer_than_the_table_is_told_as_before() -> None:
    model = built("BertModel", max_position_embeddings=12)
    with pytest.raises(Exception, match=r"13|12"):
        tracing.capture(model, {"input_ids": torch.full((5, 13), 7)})


def test_models_without_such_a_table_have_no_bound() -> None:
    assert position_rows(nn.Linear(2, 2)) is None
    assert position_rows(_hugging("LlamaModel", vocab_size=30, hidden_size=16, num_attention_heads=2)()) is None
