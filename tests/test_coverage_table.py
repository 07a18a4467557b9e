"""The coverage table counts what holds, and says why the rest does not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from coverage_table import cells, is_wrong, missed, reasons_text, sentences, totals, totals_text

ALL = {"places": 4, "narrowed": 4, "reasons": []}
GOOD: dict[str, Any] = {
    "name": "good",
    "failures": {},
    "rung": "named",
    "parity": 0.0,
    "permutation": 3e-7,
    "masked": 2e-7,
    "faults": [],
    "kept": 0.25,
    "widths": {"attention": ALL, "stream": ALL, "FFN": ALL},
    "onnx": {"error": 1e-7},
    "reload": {"error": 2e-7},
    "load": 0.0,
    "peer": {"runs": True, "equal": False, "wrong": True},
}
REFUSED: dict[str, Any] = {
    "name": "refused",
    "failures": {
        "capture": "Net cannot be captured as one graph\n  module  a.b\n  cause   a value decides\n  remedy  rewrite it"
    },
}
STUCK = GOOD | {
    "name": "stuck",
    "widths": {"stream": {"places": 2, "narrowed": 1, "reasons": ["no rule for aten.fft"]}},
}
WRONG = GOOD | {"name": "wrong", "masked": 0.3}


def test_totals_count_what_holds() -> None:
    found = totals([GOOD, REFUSED, STUCK, WRONG])
    assert (found["rows"], found["captured"], found["equal"], found["widths"]) == (4, 3, 2, 1)
    assert found["silently wrong"] == 1
    assert found["peer wrong"] == 3
    assert "equal to the masked dense model 2/4, silently wrong 1" in totals_text(found)


def test_a_refusal_is_not_wrong_but_a_difference_is() -> None:
    assert [is_wrong(row) for row in (GOOD, REFUSED, STUCK, WRONG)] == [False, False, False, True]


def test_what_is_missing_is_said_in_a_sentence() -> None:
    assert sentences(GOOD) == []
    assert sentences(STUCK) == ["no rule for aten.fft"]
    (sentence,) = sentences(REFUSED)
    assert sentence.startswith("capture: Net cannot be captured as one graph - ")
    assert "a value decides" in sentence
    assert "rewrite" not in sentence
    assert reasons_text([GOOD, STUCK]) == "  stuck: no rule for aten.fft"


def test_targets_that_are_missed_are_named() -> None:
    assert missed(totals([GOOD] * 64)) == []
    assert missed(totals([GOOD] * 57 + [REFUSED] * 7)) == [
        "equal: 57 of 62",
        "widths: 57 of 58",
        "onnx: 57 of 60",
        "reload: 57 of 58",
    ]
    assert "something is silently wrong" in missed(totals([GOOD] * 63 + [WRONG]))


def test_every_row_has_all_columns() -> None:
    assert len(cells(GOOD)) == len(cells(REFUSED)) == 13
