from __future__ import annotations

import pytest

from fxprune.errors import RuleError
from fxprune.rules.notation import Name, Operand, Product, Sum, names_of, parse, parse_pattern


def test_a_line_is_operands_then_results() -> None:
    rule = parse("... i, o i, o? -> ... o")
    i, o = Name("i"), Name("o")
    assert rule.operands == (Operand((i,), leading=True), Operand((o, i)), Operand((o,), optional=True))
    assert rule.results == (Operand((o,), leading=True),)
    assert not rule.never_cut
    assert not rule.normalised


def test_flags_belong_to_names_wherever_they_stand() -> None:
    rule = parse("v! d~, ... -> ... d")
    assert rule.never_cut == {"v"}
    assert rule.normalised == {"d"}
    assert parse("a -> a!").never_cut == {"a"}


def test_brackets_are_products_and_sums() -> None:
    a, b, c = Name("a"), Name("b"), Name("c")
    assert parse_pattern("(a b)") == Product((a, b))
    assert parse_pattern("(a + b)") == Sum((a, b))
    assert parse_pattern("(a b + c)") == Sum((Product((a, b)), c))
    assert parse_pattern("((a + b) c)") == Product((Sum((a, b)), c))
    assert parse_pattern("(1 + 1)") == Sum((Product(()), Product(())))
    assert parse_pattern("(a)") == a
    assert parse_pattern("1") == Product(())


def test_names_come_in_order() -> None:
    assert names_of(parse_pattern("((a + b c) d)")) == ["a", "b", "c", "d"]


def test_nothing_left_of_the_arrow_is_an_op_without_operands() -> None:
    assert parse(" -> a b").operands == ()
    assert parse("a -> ").results == (Operand(()),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b", "has no arrow"),
        ("a (b -> a", "has an open bracket"),
        ("a b) -> a", r"malformed at '\)'"),
        ("a, % -> a", r"malformed at ' %'"),
        ("a ... -> a", r"malformed at '\.\.\.'"),
        ("! a -> a", "malformed at '!'"),
        ("2 -> a", "malformed at '2'"),
    ],
)
def test_malformed_text_says_where(text: str, message: str) -> None:
    with pytest.raises(RuleError, match=message):
        parse(text)
