"""What each cut bought, where widths were chosen by measured latency."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fxprune.report.cleaning import listed, mapping, number, text
from fxprune.report.numbers import count, milliseconds
from fxprune.report.parts import Part, Prose, Section, Table
from fxprune.report.reading import Results

_NOTHING = 0.01  # of the latency
_TIMES = {
    "target_ms": "asked for",
    "student_ms": "the student",
    "measured_ms": "its ONNX file, before training",
    "predicted_ms": "predicted from the latency table",
    "uniform_ms": "a uniform cut of the same size",
    "dense_ms": "the teacher",
}


def cuts(results: Results) -> list[Section]:
    """Return the section of the latency target and of what each cut bought; none without such a plan."""
    target, bought = results.part("latency_target"), [mapping(row) for row in listed(results.facts.get("cuts"))]
    parts = [*_target(target), *_bought([row for row in bought if row])]
    return [Section(key="cuts", title="Cuts by latency", parts=parts)] if parts else []


def _target(target: Mapping[str, Any]) -> Iterator[Part]:
    if "met" in target and target["met"] is not None:
        yield Prose(text="The target is met within 10 %." if target["met"] is True else "The target is not met.")
    rows = [(words, milliseconds(ms)) for name, words in _TIMES.items() if (ms := number(target.get(name))) is not None]
    if rows:
        at = ", ".join(f"{text(name)} {text(size)}" for name, size in mapping(target.get("at")).items())
        yield Table(caption=f"Latency{' at ' + at if at else ''}", columns=("", ""), rows=rows)


def _bought(rows: list[Mapping[str, Any]]) -> Iterator[Part]:
    if rows:
        yield Table(
            caption="What each cut bought: beside a model where those groups alone are dense again",
            columns=("groups", "units", "kept", "saved", "of latency", "parameters saved"),
            rows=[
                (
                    text(row.get("groups")),
                    count(number(row.get("dense"))),
                    count(number(row.get("kept"))),
                    milliseconds(number(row.get("ms"))),
                    _share(number(row.get("share"))),
                    count(number(row.get("params"))),
                )
                for row in rows
            ],
        )


def _share(share: float | None) -> str:
    if share is None:
        return ""
    return f"{share:.1%}" + (" (nothing)" if share < _NOTHING else "")
