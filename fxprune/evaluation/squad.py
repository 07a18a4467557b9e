"""Exact match and F1 of SQuAD, question by question, and the best threshold for "no answer".

Own code: the libraries that have SQuAD's metric (torchmetrics) return means over a data set, and the threshold needs
every question's own score; `evaluate` fetches its scripts from the hub.

Source: the official evaluation of SQuAD 2.0 (Rajpurkar et al. 2018, arXiv:1806.03822); where every question has an
answer it is that of SQuAD 1.1 (arXiv:1606.05250), but for right answers that are nothing but punctuation or an article.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Return lower case without punctuation, articles and extra blanks.

    >>> normalised("The  Eiffel-Tower, a sight!")
    'eiffeltower sight'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(predicted: str, answers: Sequence[str]) -> float:
    """Return 1 if `predicted` is one of the `answers`, else 0; without answers only "" is right."""
    return max(float(normalised(predicted) == normalised(answer)) for answer in _gold(answers))


def token_f1(predicted: str, answers: Sequence[str]) -> float:
    """Return the best overlap of words with one of the `answers`; without answers only "" is right.

    >>> token_f1("the old bridge", ["old stone bridge", "ferry"])  # 2 shared, of 2 said and 3 expected
    0.8
    """
    return max(_overlap(normalised(predicted).split(), normalised(answer).split()) for answer in _gold(answers))


def _gold(answers: Sequence[str]) -> list[str]:
    return [answer for answer in answers if normalised(answer)] or [""]


def _overlap(predicted: list[str], answer: list[str]) -> float:
    if not predicted or not answer:
        return float(predicted == answer)
    shared = (Counter(predicted) & Counter(answer)).total()
    return 2 * shared / (len(predicted) + len(answer))  # = 2 P R / (P + R)


def squad_scores(
    texts: Sequence[str], margins: Sequence[float], answers: Sequence[Sequence[str]], threshold: float | None
) -> dict[str, float]:
    """Score the answers to a set of questions.

    Args:
        texts: the best answer to each question, never "".
        margins: by how much "no answer" scores better than it, in logits.
        answers: the right ones; none where the question has none.
        threshold: a question whose margin lies above it is left unanswered; None: all are answered (SQuAD 1.1).
    Returns:
        ``exact`` and ``f1`` in [0, 1]; with a threshold also the best ones any threshold reaches, and where F1 does.
    """
    given = [text if threshold is None or m <= threshold else "" for text, m in zip(texts, margins, strict=True)]
    found = {name: float(np.mean(list(map(of, given, answers)))) for name, of in _METRICS.items()}
    if threshold is None:
        return found
    for name, of in _METRICS.items():
        found[f"best_{name}"], found[f"best_{name}_threshold"] = best_threshold(
            list(map(of, texts, answers)), margins, answers
        )
    del found["best_exact_threshold"]
    return found


_METRICS = {"exact": exact_match, "f1": token_f1}


def best_threshold(
    scores: Sequence[float], margins: Sequence[float], answers: Sequence[Sequence[str]]
) -> tuple[float, float]:
    """Return the best mean score over all thresholds, and the lowest threshold that reaches it.

    Args:
        scores: of each question, answered.
        margins: as for `squad_scores`.
        answers: the right ones.
    """
    unanswered = np.array([exact_match("", right) for right in answers])
    order = np.argsort(np.asarray(margins), kind="stable")
    gain = (np.asarray(scores) - unanswered)[order]  # of answering the questions one after the other
    totals = unanswered.sum() + np.concatenate([[0.0], np.cumsum(gain)])
    ranked = np.asarray(margins)[order]
    reachable = np.concatenate([[True], ranked[1:] > ranked[:-1], [True]])  # no threshold parts equal margins
    best = int(np.argmax(np.where(reachable, totals, -np.inf)))
    below = np.concatenate([[ranked[0] - 1.0], ranked])
    threshold = float(below[best]) if np.isfinite(below[best]) else 0.0  # no question has an answer to give
    return float(totals[best] / len(scores)), threshold
