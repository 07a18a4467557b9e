"""From logits to answers: the best span there is, over all windows, against no answer."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from evaluating import FILL, tokenizer

from fxprune.evaluation.questions import LONGEST, QuestionTask, best_answers, best_span
from fxprune.evaluation.tasks import TASKS
from fxprune.evaluation.windows import windows

CONTEXTS = ["w0 w1 w2 w3", " ".join(FILL * 3)]


@pytest.fixture
def made():
    none = {"text": [], "answer_start": []}
    rows = [{"question": "who ?", "context": context, "answers": none} for context in CONTEXTS]
    return windows(pa.Table.from_pylist(rows), tokenizer(), 32)


def quiet(made, window: int) -> torch.Tensor:
    """Logits that prefer nothing, with some padding behind."""
    return torch.zeros(2, len(made.spans[window]) + 3)


def test_the_best_span_is_the_best_of_all():
    draw = np.random.default_rng(0)
    for _ in range(20):
        n = int(draw.integers(1, 50))
        start, end, allowed = draw.normal(size=n), draw.normal(size=n), draw.random(n) < 0.7
        spans = [(i, j) for i in range(n) for j in range(i, min(i + LONGEST, n)) if allowed[i] and allowed[j]]
        want = max((start[i] + end[j] for i, j in spans), default=-np.inf)
        score, first, last = best_span(start, end, allowed)
        assert score == pytest.approx(want)
        assert not spans or (first, last) in spans


def test_the_answer_is_the_text_between_the_best_tokens(made):
    said = [quiet(made, i) for i in range(len(made.row))]
    first = np.flatnonzero(made.spans[0][:, 0] >= 0)[0]
    said[0][0, first + 1], said[0][1, first + 2] = 5.0, 4.0
    texts, margins = best_answers(made, said, CONTEXTS)
    assert texts[0] == "w1 w2"
    assert margins[0] == -9.0


def test_the_question_and_the_padding_are_never_an_answer(made):
    said = [quiet(made, i) for i in range(len(made.row))]
    outside = np.flatnonzero(made.spans[0][:, 0] < 0)
    said[0][:, outside[1:]] = 100.0
    said[0][:, -1] = 100.0
    texts, margins = best_answers(made, said, CONTEXTS)
    assert texts[0] in CONTEXTS[0]
    assert margins[0] == 0.0


def test_of_several_windows_the_surest_answers_and_no_answer_needs_all_of_them(made):
    of_second = np.flatnonzero(made.row == 1)
    assert len(of_second) > 1
    said = [quiet(made, i) for i in range(len(made.row))]
    for place, i in enumerate(of_second):
        first = np.flatnonzero(made.spans[i][:, 0] >= 0)[0]
        said[i][:, first] = 1.0 + place
        said[i][:, made.none[i]] = 5.0 + place
    texts, margins = best_answers(made, said, CONTEXTS)
    spans = made.spans[of_second[-1]]
    best = spans[spans[:, 0] >= 0][0]
    assert texts[1] == CONTEXTS[1][best[0] : best[1]]
    assert margins[1] == 2 * 5.0 - 2 * float(len(of_second))


def test_only_squad_2_leaves_questions_unanswered():
    none = [{"question": "who ?", "context": "w1 w2", "answers": {"text": [], "answer_start": []}}]
    rows = pa.Table.from_pylist([{**none[0], "answers": {"text": ["w1"], "answer_start": [0]}}, *none])
    for name, exact in (("squad", 0.0), ("squad_v2", 0.5)):
        task = QuestionTask(TASKS[name], tokenizer(), 32, 0.0)
        held_out = task.held_out(rows)
        said = [torch.zeros(2, length) for length in held_out.examples.lengths]
        for logits in said:
            logits[:, 0] = 1.0  # the class token: no answer
            logits[:, 5] = 0.5  # "w2"
        assert held_out.scores(said)["exact"] == exact


def test_a_question_about_nothing_is_left_unanswered():
    rows = pa.Table.from_pylist([{"question": "who ?", "context": " ", "answers": {"text": [], "answer_start": []}}])
    held_out = QuestionTask(TASKS["squad_v2"], tokenizer(), 32, 0.0).held_out(rows)
    assert held_out.scores([torch.ones(2, length) for length in held_out.examples.lengths])["exact"] == 1
