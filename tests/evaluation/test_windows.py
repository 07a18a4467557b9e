"""Windows over a long context: nothing is lost, and the target is the answer."""

from __future__ import annotations

import random
from itertools import pairwise

import pyarrow as pa
import pytest
from evaluating import FILL, question_row, tokenizer

from fxprune.evaluation.windows import windows

LENGTH = 32


def table(*rows):
    return pa.Table.from_pylist(list(rows))


def long_row(words: int, answer: tuple[int, int], question: str = "who ?"):
    """A context of `words` words, and the words `answer` as its answer."""
    context = [FILL[i % len(FILL)] for i in range(words)]
    text = " ".join(context[answer[0] : answer[1]])
    start = len(" ".join([*context[: answer[0]], ""]))
    return {"question": question, "context": " ".join(context), "answers": {"text": [text], "answer_start": [start]}}


def said(made, i, rows):
    """The text between the target tokens of window `i`; None where it is the class token."""
    first, last = made.examples.targets[i].tolist()
    if first == last == made.none[i]:
        return None
    context = rows["context"][int(made.row[i])].as_py()
    return context[made.spans[i][first, 0] : made.spans[i][last, 1]]


def test_one_window_holds_a_short_context_and_its_target_is_the_answer():
    draw = random.Random(0)
    rows = table(*(question_row(draw, "squad_v2", i) for i in range(40)))
    made = windows(rows, tokenizer(), LENGTH)
    assert made.row.tolist() == list(range(40))
    for i, answers in enumerate(rows["answers"].to_pylist()):
        assert said(made, i, rows) == (answers["text"][0] if answers["text"] else None)


@pytest.mark.parametrize("answer", [(0, 1), (20, 24), (55, 60)])
def test_an_answer_is_the_target_in_each_window_that_holds_all_of_it_and_in_no_other(answer):
    rows = table(long_row(60, answer))
    made = windows(rows, tokenizer(), LENGTH)
    right = rows["answers"][0].as_py()
    start, text = right["answer_start"][0], right["text"][0]
    assert len(made.row) > 2
    found = [said(made, i, rows) for i in range(len(made.row))]
    for spans, target in zip(made.spans, found, strict=True):
        inside = spans[spans[:, 0] >= 0]
        whole = inside[0, 0] <= start and inside[-1, 1] >= start + len(text)
        assert target == (text if whole else None)
    assert text in found


def test_windows_overlap_and_cover_the_context():
    rows = table(long_row(60, (0, 1)))
    made = windows(rows, tokenizer(), LENGTH)
    covered = [set(spans[spans[:, 0] >= 0][:, 0].tolist()) for spans in made.spans]
    assert len(set.union(*covered)) == 60
    assert all(before & after for before, after in pairwise(covered))
    assert max(made.examples.lengths) <= LENGTH


def test_a_question_that_is_too_long_is_cut_so_that_the_context_keeps_its_room():
    rows = table(long_row(30, (3, 5), question="  " + " ".join(FILL * 4)))
    made = windows(rows, tokenizer(), LENGTH)
    assert all((spans[:, 0] >= 0).sum() > 5 for spans in made.spans)
    assert "w3 w4" in {said(made, i, rows) for i in range(len(made.row))}


def test_an_answer_may_begin_inside_a_token():
    row = {"question": "who ?", "context": "w1 w12 w3", "answers": {"text": ["12 w"], "answer_start": [4]}}
    rows = table(row)
    assert said(windows(rows, tokenizer(), LENGTH), 0, rows) == "w12 w3"
