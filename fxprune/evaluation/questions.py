"""SQuAD: from the logits of windows to an answer to each question, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fxprune.evaluation.examples import Examples, HeldOut
from fxprune.evaluation.squad import squad_scores
from fxprune.evaluation.tasks import Task
from fxprune.evaluation.windows import Windows, windows

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST = 30  # tokens of an answer (Devlin et al. 2019)


class QuestionTask:
    """Encodes, trains and scores extractive question answering."""

    def __init__(self, task: Task, tokenizer: Any, length: int, null_threshold: float) -> None:
        self.tokenizer, self.length = tokenizer, length
        self.threshold = null_threshold if task.name == "squad_v2" else None

    def training(self, rows: pa.Table) -> Examples:
        """Return the windows to train on."""
        return windows(rows, self.tokenizer, self.length).examples

    def held_out(self, rows: pa.Table) -> HeldOut:
        """Return the windows to answer from; the best answer of a question is scored against all that are right."""
        made = windows(rows, self.tokenizer, self.length)

        def scores(said: Sequence[Tensor]) -> dict[str, float]:
            texts, margins = best_answers(made, said, rows["context"].to_pylist())
            right = [answer["text"] for answer in rows["answers"].to_pylist()]
            return squad_scores(texts, margins, right, self.threshold)

        return HeldOut(examples=made.examples, scores=scores)

    def loss(self, output: Any, targets: Tensor) -> Tensor:
        """Mean cross-entropy of first and last token."""
        first = functional.cross_entropy(output.start_logits.float(), targets[:, 0])
        return (first + functional.cross_entropy(output.end_logits.float(), targets[:, 1])) / 2

    def answer(self, output: Any) -> Tensor:
        """Return (batch, 2, tokens)."""
        return torch.stack([output.start_logits, output.end_logits], dim=1)


def best_answers(made: Windows, said: Sequence[Tensor], contexts: Sequence[str]) -> tuple[list[str], list[float]]:
    """Return the best answer to each question, and by how much "no answer" scores better.

    The best of *all* spans of up to `LONGEST` tokens, not of the 20 best beginnings and ends. "No answer" scores what
    the window that believes in it least gives it, as in the official code of Devlin et al. 2019.

    Args:
        made: the windows of the questions.
        said: (2, tokens) of each window: logits of first and last token; padding may follow.
        contexts: of each question.
    """
    texts = [""] * len(contexts)
    best, null = np.full(len(contexts), -np.inf), np.full(len(contexts), np.inf)
    for i, logits in enumerate(said):
        row, spans = made.row[i], made.spans[i]
        start, end = logits[:, : len(spans)].numpy().astype(np.float64)
        null[row] = min(null[row], start[made.none[i]] + end[made.none[i]])
        score, first, last = best_span(start, end, spans[:, 0] >= 0)
        if score > best[row]:
            best[row], texts[row] = score, contexts[row][spans[first, 0] : spans[last, 1]]
    return texts, np.where(np.isfinite(best), null - best, np.inf).tolist()


def best_span(
    start: NDArray[np.float64], end: NDArray[np.float64], allowed: NDArray[np.bool_]
) -> tuple[float, int, int]:
    """Return score, first and last token of the best span of at most `LONGEST` allowed tokens; -inf if none is.

    >>> best_span(np.array([0.0, 5, 1]), np.array([9.0, 0, 2]), np.array([True, True, True]))
    (9.0, 0, 0)
    """
    start, end = np.where(allowed, start, -np.inf), np.where(allowed, end, -np.inf)
    width = min(LONGEST, len(start))
    sums = np.full((width, len(start)), -np.inf)  # [d, i]: from token i to token i + d
    for d in range(width):
        sums[d, : len(start) - d] = start[: len(start) - d] + end[d:]
    longer, first = (int(place) for place in np.unravel_index(int(sums.argmax()), sums.shape))
    return float(sums[longer, first]), first, first + longer
