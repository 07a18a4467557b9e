"""What a report is made of: sections of tables, charts, lists and code. Plain data; the template lays it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias
from xml.etree.ElementTree import Element, tostring

from markupsafe import Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class Prose:
    """One paragraph."""

    kind: ClassVar[str] = "prose"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list."""

    kind: ClassVar[str] = "items"
    rows: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text.

    Attributes:
        caption: says what stands in it.
        columns: headings.
        rows: one cell a column; the first is the heading of its row.
        words: places of columns that hold words; the others hold numbers and are aligned right.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: frozenset[int] = frozenset({0})


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing and what it shows."""

    title: str
    drawing: Element
    note: str = ""

    @property
    def svg(self) -> Markup:
        """The drawing as markup: the tree escapes every text and attribute in it."""
        return Markup(tostring(self.drawing, encoding="unicode"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Charts:
    """Drawings side by side, as many as fit; `legend`: (class, word) of each mark in them."""

    kind: ClassVar[str] = "charts"
    charts: Sequence[Chart]
    legend: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Something to copy."""

    kind: ClassVar[str] = "code"
    caption: str
    language: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """Parts that are shown when asked for."""

    kind: ClassVar[str] = "details"
    summary: str
    parts: Sequence[Part]


Part: TypeAlias = "Prose | Items | Table | Charts | Code | Details"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the page under a heading of its own.

    Attributes:
        key: anchor.
        title: heading.
        parts: what stands under it.
    """

    key: str
    title: str
    parts: Sequence[Part]
