"""One step of generation as a module of tensors alone, which is what an exporter takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from fxprune.deploy.generation.caches import Past, filled, held

if TYPE_CHECKING:
    from torch import Tensor


class DecoderStep(nn.Module):
    """A causal language model from some past to a longer one.

    Args:
        model: a Hugging Face model that keeps keys and values.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, past_key_values: Past, position_ids: Tensor | None = None
    ) -> dict[str, Any]:
        """Return the logits of (batch, length) new tokens; the mask covers past and new ones."""
        positions = {} if position_ids is None else {"position_ids": position_ids}
        cache = filled(list(past_key_values.values()))
        out = self.model(
            input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, use_cache=True, **positions
        )
        return {"logits": out.logits, "present": _numbered(held(out.past_key_values))}


class EncoderStep(nn.Module):
    """The encoder of a pair, and what every step of the decoder takes from it: the keys and values of its states."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Any]:
        """Return the last hidden state, and for each layer of the decoder the keys and values made of it."""
        from transformers.cache_utils import EncoderDecoderCache

        states = self.model.get_encoder()(input_ids=input_ids, attention_mask=attention_mask)
        cache = EncoderDecoderCache(filled([]), filled([]))
        self.model(  # of the decoder only the projections of the states are used, and the exporter drops the rest
            encoder_outputs=states,
            attention_mask=attention_mask,
            decoder_input_ids=input_ids[:, :1],
            past_key_values=cache,
            use_cache=True,
        )
        sides = [{"encoder": layer} for layer in held(cache.cross_attention_cache)]
        return {"last_hidden_state": states.last_hidden_state, "present": _numbered(sides)}


class CrossStep(nn.Module):
    """The decoder of a pair from some past to a longer one; what it attends to in the source is part of the past."""

    def __init__(self, model: Any, width: int) -> None:
        super().__init__()
        self.model = model
        self.width = width

    def forward(self, input_ids: Tensor, encoder_attention_mask: Tensor, past_key_values: Past) -> dict[str, Any]:
        """Return the logits of (batch, length) new target tokens."""
        from transformers.cache_utils import EncoderDecoderCache
        from transformers.modeling_outputs import BaseModelOutput

        sides = (filled([layer[side] for layer in past_key_values.values()]) for side in ("decoder", "encoder"))
        cache = EncoderDecoderCache(*sides)
        # the states themselves are not needed any more, but the class takes the length of the source from them
        length = encoder_attention_mask[:, :, None].to(next(self.model.parameters()).dtype)
        out = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=length.expand(-1, -1, self.width)),
            attention_mask=encoder_attention_mask,
            decoder_input_ids=input_ids,
            past_key_values=cache,
            use_cache=True,
        )
        present = [{"decoder": layer} for layer in held(cache.self_attention_cache)]
        return {"logits": out.logits, "present": _numbered(present)}


def _numbered(layers: list[Any]) -> dict[str, Any]:
    return {str(place): layer for place, layer in enumerate(layers)}
