"""Greedy generation from ONNX files, with numpy and ONNX Runtime alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fxprune.deploy.generation.settings import DECODER, ENCODER, SETTINGS, WITH_PAST, Settings, int8_name
from fxprune.deploy.generation.stepping import Stepper, remembered, run_values
from fxprune.deploy.ort import read_session
from fxprune.errors import SourceError, UsageError

if TYPE_CHECKING:
    from onnxruntime import OrtValue


class OnnxGenerator:
    """A model that continues texts, or writes a text for each source.

    Args:
        folder: of a run or of ``fxprune export --with-past``; the files lie in it or in its `onnx` folder.
        threads: of ONNX Runtime, 0 = as many as cores.
        int8: which of them; None: float32 where there are such, else int8.
    Raises:
        SourceError: there are no such files, or they cannot be read.
    """

    def __init__(self, folder: str | os.PathLike[str], threads: int = 0, *, int8: bool | None = None) -> None:
        *before, last = _graphs(Path(folder), int8)
        self.settings = Settings.load(last.parent / SETTINGS)
        self.encoder = read_session(before[0], threads) if before else None
        self.stepper = Stepper(read_session(last, threads, spinning=True))

    def generate(self, prompts: Sequence[Sequence[int]], max_new_tokens: int = 50) -> list[list[int]]:
        """Return the new tokens of each prompt, each the likeliest; a token that ends the text is the last of them.

        Args:
            prompts: token ids of each text (or source), of any lengths; padding is added here.
            max_new_tokens: where a text stops that does not end by itself.
        Raises:
            UsageError: a prompt is empty, or longer than the model has positions for.
        """
        self._check(prompts, max_new_tokens)
        ids, mask = padded(prompts, self.settings.pad, left=self.encoder is None)
        past = self.stepper.nothing(len(ids))
        if self.encoder is not None:
            past |= remembered(run_values(self.encoder, {"input_ids": ids, "attention_mask": mask}))
            ids = np.full((len(ids), 1), self.settings.start, np.int64)
        return [_ended(row, self.settings.ends) for row in self._loop(ids, mask, past, max_new_tokens).tolist()]

    def _loop(self, ids: np.ndarray, mask: np.ndarray, past: dict[str, OrtValue], count: int) -> np.ndarray:
        """Return (batch, count) tokens, or fewer if all texts have ended."""
        ended = np.zeros(len(ids), bool)
        found: list[np.ndarray] = []
        for place in range(count):
            logits, past = self.stepper.step(ids, mask, past)
            chosen = self._forced(place, count)
            best = logits[:, -1].argmax(-1) if chosen is None else np.full(len(ids), chosen)
            best = np.where(ended, self.settings.pad, best)
            found.append(best)
            ended |= np.isin(best, self.settings.ends)
            if ended.all():
                break
            ids = best[:, None].astype(np.int64)
            if self.encoder is None:
                mask = np.concatenate((mask, np.ones((len(ids), 1), mask.dtype)), axis=1)
        return np.stack(found, axis=1)

    def _forced(self, place: int, count: int) -> int | None:
        if place == count - 1 and self.settings.last is not None:
            return self.settings.last
        return self.settings.first if place == 0 else None

    def _check(self, prompts: Sequence[Sequence[int]], count: int) -> None:
        if count < 1:
            raise UsageError(f"cannot generate {count} tokens", remedy="ask for one at least")
        if not prompts or not all(len(prompt) for prompt in prompts):
            raise UsageError("a prompt has no token", remedy="give each prompt a word at least")
        limit = self.settings.positions
        longest = max(map(len, prompts))
        if limit is None:
            return
        if longest > limit:
            raise UsageError(
                f"a prompt has {longest:,} tokens, the model has {limit:,} positions", remedy="shorten the prompt"
            )
        taken = count if self.encoder is not None else longest + count
        if taken > limit:
            raise UsageError(
                f"{count:,} new tokens do not fit: the model has {limit:,} positions",
                cause=None if self.encoder is not None else f"the longest prompt takes {longest:,} of them",
                remedy=f"ask for {limit - (taken - count):,} at most",
            )


def padded(prompts: Sequence[Sequence[int]], pad: int, *, left: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and mask (batch, length) of texts of different lengths.

    >>> ids, mask = padded([[5, 6, 7], [8]], 0, left=True)
    >>> ids.tolist(), mask.tolist()
    ([[5, 6, 7], [0, 0, 8]], [[1, 1, 1], [0, 0, 1]])
    """
    length = max(map(len, prompts))
    ids = np.full((len(prompts), length), pad, np.int64)
    mask = np.zeros((len(prompts), length), np.int64)
    for row, prompt in enumerate(prompts):
        place = slice(length - len(prompt), length) if left else slice(0, len(prompt))
        ids[row, place], mask[row, place] = prompt, 1
    return ids, mask


def _ended(tokens: list[int], ends: Sequence[int]) -> list[int]:
    """Cut what follows the first end."""
    for place, token in enumerate(tokens):
        if token in ends:
            return tokens[: place + 1]
    return tokens


def _graphs(folder: Path, int8: bool | None) -> list[Path]:
    """Return the decoder, or encoder and decoder."""
    for place in (folder / "onnx", folder):
        for quantised in (False, True) if int8 is None else (int8,):
            for names in ([WITH_PAST], [ENCODER, DECODER]):
                files = [place / (int8_name(name) if quantised else name) for name in names]
                if (place / SETTINGS).is_file() and all(file.is_file() for file in files):
                    return files
    kind, flag = ("int8 ", " --int8") if int8 else ("", "")
    wanted = [int8_name(name) if int8 else name for name in (WITH_PAST, ENCODER, DECODER)]
    raise SourceError(
        f"folder '{folder}' holds no {kind}ONNX files that generate"
        if folder.is_dir()
        else f"there is no folder '{folder}'",
        cause="there is no {}, nor {} with {}".format(*wanted) if folder.is_dir() else None,
        remedy=f"make them: `fxprune export --model MODEL --with-past{flag} --output FOLDER`",
    )
