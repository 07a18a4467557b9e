"""From prompts to texts: the tokenizer around a generator."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fxprune.deploy.generation.generator import OnnxGenerator
from fxprune.preprocessors import folder_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a model wrote.

    Attributes:
        prompt: as given.
        text: what follows it, or is written for it.
        tokens: of the text, the one that ended it among them.
    """

    prompt: str
    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was written for all prompts, in how many seconds."""

    texts: tuple[Written, ...]
    seconds: float
    continues: bool  # the text goes on where the prompt ends; else the prompt is a source
    unused: dict[str, Any]  # settings of the model that a greedy loop does not follow

    @property
    def tokens_per_second(self) -> float:
        """Return the rate of new tokens, all prompts together."""
        return sum(len(text.tokens) for text in self.texts) / self.seconds


def write_texts(
    folder: Path, prompts: Sequence[str], *, max_new_tokens: int = 50, threads: int = 0, int8: bool | None = None
) -> Answer:
    """Write a text for each prompt, greedily, in ONNX Runtime.

    Args:
        folder: of a run or of ``fxprune export --with-past``.
        prompts: texts to continue, or sources.
        max_new_tokens: where a text stops that does not end by itself.
        threads: 0 = as many as cores.
        int8: see `OnnxGenerator`.
    Raises:
        SourceError: there are no such files, or no tokenizer.
        UsageError: a prompt is empty or too long.
    """
    generator = OnnxGenerator(folder, threads, int8=int8)
    tokenizer = folder_tokenizer(folder)
    ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    start = time.perf_counter()
    made = generator.generate(ids, max_new_tokens)
    seconds = time.perf_counter() - start
    continues = generator.encoder is None
    texts = [
        Written(prompt=prompt, text=_text(tokenizer, given if continues else [], tokens), tokens=tuple(tokens))
        for prompt, given, tokens in zip(prompts, ids, made, strict=True)
    ]
    return Answer(
        texts=tuple(texts),
        seconds=seconds,
        continues=continues,
        unused=generator.settings.unused,
    )


def _text(tokenizer: Any, given: list[int], tokens: list[int]) -> str:
    """Return what the tokens add to the given ones: decoded alone, a first word would lose the space before it."""
    before, whole = (tokenizer.decode(part, skip_special_tokens=True) for part in (given, [*given, *tokens]))
    added: str = (
        whole[len(before) :] if whole.startswith(before) else tokenizer.decode(tokens, skip_special_tokens=True)
    )
    return added
