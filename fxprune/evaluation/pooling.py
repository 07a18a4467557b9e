"""A head that reads the mean of all tokens.

The classes of transformers read one token, which says something only where pretraining gave it something to say: a
sentence encoder is trained on the mean, and a masked language model on every token but that one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fxprune.errors import SourceError

FRESH = ("classifier.bias", "classifier.weight")


@dataclass(frozen=True, slots=True)
class Classified:
    """What the head says: (batch, classes)."""

    logits: Tensor


class MeanClassifier(nn.Module):
    """A model without a head under one linear layer on the mean of its last hidden states.

    Args:
        encoder: its call returns a `last_hidden_state` of (batch, length, width).
        width: of the hidden states.
        classes: number of outputs.
        deviation: of the layer's first weights, which come from torch's own generator; its bias starts at 0.
    """

    def __init__(self, encoder: nn.Module, width: int, classes: int, deviation: float = 0.02) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = nn.Linear(width, classes)
        nn.init.normal_(self.classifier.weight, std=deviation)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, attention_mask: Tensor, **inputs: Tensor) -> Classified:
        """Classify (batch, length) tokens, padding left out; `inputs` are those of the encoder."""
        output: Any = self.encoder(attention_mask=attention_mask, **inputs)
        return Classified(self.classifier(mean_of_tokens(output.last_hidden_state, attention_mask)))


def mean_of_tokens(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Return (batch, width): the mean of (batch, length, width) over what is not padding."""
    mask = attention_mask[..., None].to(hidden.dtype)
    return (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)


def mean_classifier(encoder: nn.Module, classes: int, name: str) -> MeanClassifier:
    """Return `encoder` under a fresh head, in evaluation mode.

    Raises:
        SourceError: its width cannot be told, because it returns no hidden state for a token.
    """
    ids = torch.zeros(1, 1, dtype=torch.long, device=next(encoder.parameters()).device)
    try:
        with torch.no_grad():
            width = encoder.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.shape[-1]
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise SourceError(
            f"model {name!r} does not return hidden states of tokens, so there is no mean of them to classify",
            remedy="use --pooling model",
        ) from error
    return MeanClassifier(encoder, width, classes).eval()
