from __future__ import annotations

import pytest
import torch
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from fxprune.sizes import Symbolic, divide, product, size_from, times

S, B = Symbolic(1, ("s0",)), Symbolic(1, ("s1",))


def test_products_keep_their_coefficient_and_sort_their_symbols() -> None:
    assert times(3, 4) == 12
    assert times(B, S) == times(S, B) == Symbolic(1, ("s0", "s1"))
    assert product([2, S, 3, B]) == Symbolic(6, ("s0", "s1"))
    assert product([2, 3]) == 6
    assert product([]) == 1


@pytest.mark.parametrize(
    ("a", "b", "quotient"),
    [
        (768, 12, 64),
        (768, 7, None),
        (5, 0, None),
        (Symbolic(12, ("s0",)), S, 12),
        (Symbolic(12, ("s0",)), 4, Symbolic(3, ("s0",))),
        (Symbolic(12, ("s0",)), 5, None),
        (12, S, None),
        (Symbolic(12, ("s0", "s1")), Symbolic(4, ("s1",)), Symbolic(3, ("s0",))),
        (Symbolic(1, ("s0", "s0")), S, S),
        (S, Symbolic(1, ("s0", "s0")), None),
        (S, S, 1),
    ],
)
def test_division_leaves_nothing_over_or_is_none(a: object, b: object, quotient: object) -> None:
    assert divide(a, b) == quotient  # type: ignore[arg-type]


def test_sizes_print_as_products() -> None:
    assert str(Symbolic(4, ("s0", "s1"))) == "4*s0*s1"
    assert str(S) == "s0"


def test_traced_sizes_become_coefficient_and_symbols() -> None:
    env = ShapeEnv()
    batch, length = (env.create_unbacked_symint() for _ in range(2))
    name = str(batch.node.expr)
    assert size_from(7) == 7
    assert size_from(batch) == Symbolic(1, (name,))
    assert size_from(batch * 12) == Symbolic(12, (name,))
    assert size_from(batch * batch) == Symbolic(1, (name, name))
    both = size_from(3 * batch * length)
    assert both == Symbolic(3, tuple(sorted((name, str(length.node.expr)))))


def test_a_sum_is_one_symbol_that_hides_its_parts() -> None:
    env = ShapeEnv()
    batch = env.create_unbacked_symint()
    size = size_from(4 * batch + 4)
    assert isinstance(size, Symbolic)
    assert size.coefficient == 1
    assert divide(size, 4) is None
    assert isinstance(size_from(batch // 2), Symbolic)


def test_an_integer_in_disguise_is_an_integer() -> None:
    env = ShapeEnv()
    batch = env.create_unbacked_symint()
    assert size_from(batch - batch + 5) == 5
    assert isinstance(torch.zeros(3).shape[0], int)
