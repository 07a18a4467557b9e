"""SQuAD's metric on cases worked out by hand, and its threshold against every threshold there is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxprune.evaluation.squad import best_threshold, exact_match, normalised, squad_scores, token_f1


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("The Beatles", "beatles"),
        ("a man, an apple and the end.", "man apple and end"),
        ("  double   blanks\tand\nlines ", "double blanks and lines"),
        ("co-operate", "cooperate"),  # punctuation goes before articles, as in the official script
        ("theatre another", "theatre another"),  # an article is a whole word
        ("U.S.A.", "usa"),
        ("$3.5 million", "35 million"),
        ("The", ""),
        ("Café «été»", "café «été»"),  # punctuation means ASCII
    ],
)
def test_text_is_compared_without_case_punctuation_articles_and_blanks(text, left):
    assert normalised(text) == left


@pytest.mark.parametrize(
    ("said", "right", "exact", "f1"),
    [
        ("the Norman conquest", ["Norman Conquest."], 1, 1),
        ("in the 10th century", ["10th century", "the 10th and 11th centuries"], 0, 4 / 5),
        ("10th centuries", ["10th century", "the 10th and 11th centuries"], 0, 2 / 3),
        ("Denmark Iceland Norway", ["Denmark, Iceland and Norway"], 0, 6 / 7),
        ("red red blue", ["red blue blue"], 0, 2 / 3),  # each word counts as often as both have it
        ("France", ["Germany", "France"], 1, 1),  # the best of several
        ("France", ["Germany"], 0, 0),
        ("", ["Germany"], 0, 0),
        ("the", ["Germany"], 0, 0),  # nothing is left of it
        ("", [], 1, 1),  # no answer is the right answer
        ("", [""], 1, 1),
        ("Germany", [], 0, 0),
        ("Rome", ["the", "Rome"], 1, 1),  # an answer of which nothing is left is no answer
        ("", ["the", "Rome"], 0, 0),
    ],
)
def test_answers_worked_out_by_hand(said, right, exact, f1):
    assert exact_match(said, right) == exact
    assert token_f1(said, right) == pytest.approx(f1)


def test_without_a_threshold_every_question_is_answered():
    done = squad_scores(["Rome", "Oslo"], [9.0, 9.0], [["Rome"], ["Paris"]], None)
    assert done == {"exact": 0.5, "f1": 0.5}


def test_a_question_is_left_unanswered_above_the_threshold_only():
    texts, right = ["Rome", "Oslo", "Bonn"], [["Rome"], [], ["Berlin"]]
    margins = [-2.0, 0.5, 0.0]
    assert squad_scores(texts, margins, right, 0.0)["exact"] == pytest.approx(2 / 3)
    assert squad_scores(texts, margins, right, 1.0)["exact"] == pytest.approx(1 / 3)
    assert squad_scores(texts, margins, right, -3.0)["exact"] == pytest.approx(1 / 3)
    best = squad_scores(texts, margins, right, 1.0)
    assert best["best_exact"] == best["best_f1"] == pytest.approx(2 / 3)
    assert -2.0 <= best["best_f1_threshold"] < 0.5
    assert squad_scores(texts, margins, right, best["best_f1_threshold"])["f1"] == best["best_f1"]


QUESTIONS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(-3, 3), st.booleans()), min_size=1, max_size=12
)


@settings(deadline=None)
@given(QUESTIONS)
def test_no_threshold_beats_the_best_one_and_it_reaches_what_it_says(questions):
    scores = [score if answered else 0.0 for score, _, answered in questions]
    margins = [float(margin) for _, margin, _ in questions]
    right = [["x"] if answered else [] for _, _, answered in questions]

    def at(threshold):
        left = [
            score if margin <= threshold else float(not answers)
            for score, margin, answers in zip(scores, margins, right, strict=True)
        ]
        return sum(left) / len(left)

    best, threshold = best_threshold(scores, margins, right)
    assert at(threshold) == pytest.approx(best)
    assert best == pytest.approx(max(at(t) for t in [-10.0, *margins]))


def test_questions_without_any_answer_to_give_leave_the_threshold_alone():
    done = squad_scores(["", ""], [float("inf")] * 2, [[], ["Rome"]], 0.0)
    assert done == {"exact": 0.5, "f1": 0.5, "best_exact": 0.5, "best_f1": 0.5, "best_f1_threshold": 0.0}
