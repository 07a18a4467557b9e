"""What a generation loop must know besides the graphs: where texts start, end and stop growing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fxprune.errors import SourceError

WITH_PAST, ENCODER, DECODER, SETTINGS = "decoder_with_past.onnx", "encoder.onnx", "decoder.onnx", "generation.json"
# of a generation config; a greedy loop that leaves them out may choose other tokens
_UNUSED = (
    "do_sample",
    "num_beams",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "min_length",
    "min_new_tokens",
)


def int8_name(name: str) -> str:
    """Return the name of the int8 version of a graph.

    >>> int8_name("encoder.onnx")
    'encoder.int8.onnx'
    """
    return f"{name.removesuffix('.onnx')}.int8.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Facts for a greedy loop.

    Attributes:
        positions: most tokens a text may have; None: no limit is known.
        ends: tokens that end a text.
        pad: stands before a shorter prompt, and after a text that has ended.
        start: the first token of a decoder behind an encoder; None: the prompt itself is continued.
        first: a token every such text must begin with, if any.
        last: a token every text that is cut off must end with, if any.
        unused: settings of the model's own `generation_config.json` that a greedy loop does not follow.
    """

    positions: int | None = None
    ends: tuple[int, ...] = ()
    pad: int = 0
    start: int | None = None
    first: int | None = None
    last: int | None = None
    unused: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the text of ``generation.json``."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read what `to_json` made.

        Raises:
            SourceError: the file is missing or damaged.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{**data, "ends": tuple(data["ends"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise SourceError(f"'{path}' cannot be read", cause=error, remedy="export the model again") from error


def settings_of(model: Any) -> Settings:
    """Return what the configs of a Hugging Face model say."""
    own, pair = model.generation_config, model.config.is_encoder_decoder
    ends, pad = _asked(model, "eos_token_id"), _asked(model, "pad_token_id")
    ends = tuple(ends) if isinstance(ends, list | tuple) else () if ends is None else (ends,)
    limit = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    defaults = type(own)()
    unused = {name: getattr(own, name, None) for name in _UNUSED}
    return Settings(
        positions=limit if isinstance(limit, int) and limit > 0 else None,
        ends=ends,
        pad=pad if isinstance(pad, int) and pad >= 0 else next(iter(ends), 0),
        start=_start(model) if pair else None,
        first=getattr(own, "forced_bos_token_id", None) if pair else None,
        last=_one(getattr(own, "forced_eos_token_id", None)),
        unused={k: v for k, v in unused.items() if v is not None and v != getattr(defaults, k, None)},
    )


def _start(model: Any) -> int:
    found = _asked(model, "decoder_start_token_id")
    found = _asked(model, "bos_token_id") if found is None else found
    return int(found) if found is not None else 0


def _asked(model: Any, name: str) -> Any:
    found = getattr(model.generation_config, name, None)
    return getattr(model.config, name, None) if found is None else found


def _one(value: Any) -> int | None:
    return value[0] if isinstance(value, list | tuple) else value
