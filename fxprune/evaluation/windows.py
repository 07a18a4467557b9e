"""Question and context as windows a model can take, and where in them the answer lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from fxprune.evaluation.examples import Examples

if TYPE_CHECKING:
    import pyarrow as pa

QUESTION, OVERLAP = 64, 128  # tokens: the longest question, and what neighbouring windows share (Devlin et al. 2019)


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """The windows of a split.

    Attributes:
        examples: inputs; targets are first and last token of the answer, or twice `none` where a window has none.
        row: the question of each window.
        spans: (tokens, 2) of each window: first and last character of a token in the context; -1 outside it.
        none: the token of each window that stands for "no answer".
    """

    examples: Examples
    row: NDArray[np.int64]
    spans: list[NDArray[np.int64]]
    none: NDArray[np.int64]


def windows(rows: pa.Table, tokenizer: Any, length: int) -> Windows:
    """Cut question and context into windows of at most `length` tokens that overlap by `OVERLAP`, where there is room.

    Args:
        rows: question, context and answers.
        tokenizer: a fast one.
        length: most tokens of a window.
    """
    share = length // 3  # a short window is a third question, a third old and a third new context
    questions = _shortened(rows["question"].to_pylist(), tokenizer, min(QUESTION, share))
    encoded = tokenizer(
        questions,
        rows["context"].to_pylist(),
        truncation="only_second",
        max_length=length,
        stride=min(OVERLAP, share),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding_side="right",
    )
    row = np.array(encoded.pop("overflow_to_sample_mapping"))
    offsets = encoded.pop("offset_mapping")
    spans = [_context_only(offsets[i], encoded.sequence_ids(i)) for i in range(len(row))]
    inputs = [{name: values[i] for name, values in encoded.items()} for i in range(len(row))]
    none = np.array([_no_answer(tokens["input_ids"], tokenizer) for tokens in inputs])
    answers = [_first_answer(answer) for answer in rows["answers"].to_pylist()]
    targets = [_target(spans[i], answers[row[i]], none[i]) for i in range(len(row))]
    return Windows(examples=Examples(inputs=inputs, targets=torch.tensor(targets)), row=row, spans=spans, none=none)


def _shortened(questions: list[str], tokenizer: Any, most: int) -> list[str]:
    """Cut questions to `most` tokens; blanks in front, which some data has, would count as one."""
    stripped = [question.strip() for question in questions]
    offsets = tokenizer(stripped, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return [
        text[: spans[most - 1][1]] if len(spans) > most else text for text, spans in zip(stripped, offsets, strict=True)
    ]


def _context_only(offsets: list[tuple[int, int]], parts: list[int | None]) -> NDArray[np.int64]:
    spans = np.array([(start, end) for start, end in offsets], dtype=np.int64).reshape(-1, 2)
    spans[[part != 1 for part in parts]] = -1
    return spans


def _no_answer(ids: list[int], tokenizer: Any) -> int:
    """Return the place of the class token, or the first where a tokenizer has none."""
    return ids.index(tokenizer.cls_token_id) if tokenizer.cls_token_id in ids else 0


def _first_answer(answer: dict[str, Any]) -> tuple[int, int] | None:
    """Return the characters of the answer a model is trained on: the first one given."""
    if not answer["text"]:
        return None
    start = answer["answer_start"][0]
    return start, start + len(answer["text"][0])


def _target(spans: NDArray[np.int64], answer: tuple[int, int] | None, none: int) -> tuple[int, int]:
    """Return the first and last token that touch the answer, if the window holds all of it."""
    if answer is None:
        return none, none
    context = np.flatnonzero(spans[:, 0] >= 0)
    if not len(context) or spans[context[0], 0] > answer[0] or spans[context[-1], 1] < answer[1]:
        return none, none
    touching = context[(spans[context, 1] > answer[0]) & (spans[context, 0] < answer[1])]
    return (int(touching[0]), int(touching[-1])) if len(touching) else (none, none)
