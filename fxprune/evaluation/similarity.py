"""Sentence encoders as they are: mean pooling, cosine, rank correlation with what people say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fxprune.evaluation.finetune import called
from fxprune.evaluation.metrics import scores_of
from fxprune.evaluation.pooling import mean_of_tokens
from fxprune.evaluation.tasks import TASKS

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH, _LENGTH = 64, 128


@torch.no_grad()
def embed(model: Any, tokenizer: Any, texts: Sequence[str], *, length: int = _LENGTH, batch: int = _BATCH) -> Tensor:
    """Return (texts, width): the last hidden state, averaged over the tokens of each text.

    Args:
        model: what a call of returns a `last_hidden_state`: an encoder of transformers, or a captured one.
        tokenizer: its own.
        texts: any strings.
        length: most tokens of a text.
        batch: texts at a time, of similar length.
    """
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    rows: list[Tensor] = [torch.empty(0)] * len(texts)
    device = next(model.parameters()).device
    for i in range(0, len(order), batch):
        chosen = [texts[j] for j in order[i : i + batch]]
        encoded = tokenizer(chosen, padding=True, truncation=True, max_length=length, return_tensors="pt").to(device)
        inputs = {name: encoded[name] for name in ("input_ids", "attention_mask")}
        pooled = mean_of_tokens(called(model, inputs).last_hidden_state, inputs["attention_mask"])
        for j, row in zip(order[i : i + batch], pooled.float().cpu(), strict=True):
            rows[j] = row
    return torch.stack(rows)


def similarity(
    model: Any, tokenizer: Any, rows: pa.Table, *, length: int = _LENGTH, batch: int = _BATCH
) -> dict[str, float]:
    """Return the rank correlation of cosine and human score over pairs of sentences.

    Args:
        model, tokenizer, length, batch: as for `embed`.
        rows: sentence1, sentence2 and label.
    """
    task = TASKS["text-similarity"]
    left, right = (embed(model, tokenizer, rows[name].to_pylist(), length=length, batch=batch) for name in task.texts)
    cosine = torch.cosine_similarity(left, right)
    return scores_of(task.metrics, rows["label"].to_numpy(), cosine.numpy())
