"""Names from files never reach the terminal raw."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from fxprune.cli.render import PlainConsole
from fxprune.errors import UsageError
from fxprune.printable import printable

ESCAPE = "\x1b]0;owned\x07\x1b[2J"


@given(st.text())
def test_nothing_is_left_that_moves_a_cursor_and_ordinary_text_is_left_alone(text: str) -> None:
    shown = printable(text)
    assert all(c in "\n\t" or ord(c) >= 32 for c in shown)
    assert not set(shown) & set("\x7f\x9b\u202e\u2066\u200b")
    assert printable(shown) == shown


@pytest.mark.parametrize("text", ["bert-base", "größe 模型 é", "two\nlines\tand a tab", "a \\ b"])
def test_signs_of_any_script_stay(text: str) -> None:
    assert printable(text) == text


def test_errors_tables_and_lines_show_numbers_instead() -> None:
    assert str(UsageError(f"no {ESCAPE}", cause=ESCAPE)).count("\\x1b]0;owned\\x07") == 2
    file = io.StringIO()
    console = PlainConsole(file=file, width=100, force_terminal=True, color_system="truecolor")
    table = Table("model")
    table.add_row(f"m{ESCAPE}")
    console.print(table)
    console.print(f"n{ESCAPE}", markup=False, highlight=False)
    shown = file.getvalue()
    assert shown.count("\\x1b]0;owned") == 2
    assert ESCAPE[:4] not in shown
    assert "\x1b[2J" not in shown
