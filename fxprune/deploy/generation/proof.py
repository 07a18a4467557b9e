"""Proof that a file with a cache computes what the model does without one, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from fxprune.deploy.generation.caches import takes
from fxprune.deploy.generation.stepping import Stepper, positions, remembered, run_values
from fxprune.deploy.parity import worst_error
from fxprune.quiet import quiet

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, OrtValue

    Logits: TypeAlias = dict[str, torch.Tensor]
    Step: TypeAlias = tuple[Mapping[str, np.ndarray | OrtValue], np.ndarray]

_STEPS = 4  # single tokens after the first piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A text, how it is cut into steps, and the logits of the model that sees it as a whole."""

    ids: np.ndarray  # (batch, length)
    mask: np.ndarray  # (batch, length); of an encoder-decoder (batch, source)
    pieces: tuple[int, ...]  # add up to the length
    want: np.ndarray  # (batch, length, words)
    source: np.ndarray | None = None  # (batch, source) of an encoder-decoder


def trials(model: Any, ids: torch.Tensor, length: int) -> list[Trial]:
    """Ask `model`, without a cache, for a ragged batch, one row, and a batch that is read in one piece.

    Args:
        model: a Hugging Face model that generates.
        ids: (rows, columns) tokens to draw from.
        length: of the longest text.
    """
    shapes = [(3, length, 2), (1, max(2, length - 3), 0), (5, max(2, length // 2), 1)]
    return [_trial(model, ids, *shape, whole=place == len(shapes) - 1) for place, shape in enumerate(shapes)]


def stepwise_error(session: InferenceSession, trial: Trial, encoder: InferenceSession | None = None) -> float:
    """Run `trial` piece by piece and return the largest error of a logit, relative to the largest logit."""
    return worst_error(*compared(session, trial, encoder))


def compared(session: InferenceSession, trial: Trial, encoder: InferenceSession | None = None) -> tuple[Logits, Logits]:
    """Run `trial` piece by piece; return the logits of its tokens, and those of the model."""
    got = np.concatenate([logits for _, logits in walked(session, trial, encoder)], axis=1)
    shown = trial.mask.astype(bool) if trial.source is None else np.ones(trial.ids.shape, bool)  # no padding
    return {"logits": torch.from_numpy(got[shown])}, {"logits": torch.from_numpy(trial.want[shown])}


def walked(session: InferenceSession, trial: Trial, encoder: InferenceSession | None = None) -> Iterator[Step]:
    """Run `trial` piece by piece; return what the session is fed for each, and the logits it makes of it."""
    stepper = Stepper(session)
    past = stepper.nothing(len(trial.ids))
    if encoder is not None:
        past |= remembered(run_values(encoder, source_of(trial)))
    start = 0
    for piece in trial.pieces:
        end = start + piece
        mask = np.ascontiguousarray(trial.mask if encoder is not None else trial.mask[:, :end])
        ids = np.ascontiguousarray(trial.ids[:, start:end])
        fed = stepper.feeds(ids, mask, past)
        logits, past = stepper.step(ids, mask, past)
        yield fed, logits
        start = end


def source_of(trial: Trial) -> dict[str, Any]:
    """Return what an encoder is fed."""
    return {"input_ids": trial.source, "attention_mask": trial.mask}


def left_mask(batch: int, length: int, step: int) -> np.ndarray:
    """Return a mask whose row i hides the first ``i * step`` positions, all but two at most.

    >>> left_mask(2, 4, 1).tolist()
    [[1, 1, 1, 1], [0, 1, 1, 1]]
    """
    hidden = np.minimum(np.arange(batch) * step, max(length - 2, 0))[:, None]
    return (np.arange(length) >= hidden).astype(np.int64)


def _trial(model: Any, words: torch.Tensor, batch: int, length: int, padding: int, *, whole: bool) -> Trial:
    ids = _drawn(words, batch, length, seed=length)
    pieces = (length,) if whole else tuple(_pieces(length))
    mask = left_mask(batch, length, padding)
    if model.config.is_encoder_decoder:
        source, mask = _drawn(words, batch, length + 2, seed=1), left_mask(batch, length + 2, padding)
        want = _logits(model, input_ids=source, attention_mask=mask, decoder_input_ids=ids)
        return Trial(ids=ids, mask=mask, pieces=pieces, want=want, source=source)
    numbered = {"position_ids": positions(mask)} if takes(model, "position_ids") else {}
    want = _logits(model, input_ids=ids, attention_mask=mask, **numbered)
    return Trial(ids=ids, mask=mask, pieces=pieces, want=want)


def _pieces(length: int) -> Iterator[int]:
    """Read two thirds at once, then token by token, and the rest at once upon a past.

    >>> list(_pieces(24)), list(_pieces(5))
    ([16, 1, 1, 1, 1, 4], [3, 1, 1])
    """
    first = max(1, length * 2 // 3)
    single = min(_STEPS, length - first)
    yield from (first, *[1] * single)
    if rest := length - first - single:
        yield rest


def _drawn(words: torch.Tensor, batch: int, length: int, seed: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    flat = words.flatten()
    return flat[torch.randint(len(flat), (batch, length), generator=generator)].cpu().numpy()


def _logits(model: Any, **arrays: np.ndarray) -> np.ndarray:
    with torch.no_grad(), quiet():
        out = model(**{name: torch.from_numpy(array) for name, array in arrays.items()}, use_cache=False)
    found: np.ndarray = out.logits.numpy()
    return found
