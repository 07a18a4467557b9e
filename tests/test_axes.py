from __future__ import annotations

import pytest

from fxprune.axes import Axis, Concat, Factor, UnifyError, factors_of, fresh, resolve, size_of, unify
from fxprune.sizes import Symbolic


def sizes(axis: Axis) -> list[object]:
    """Spell an axis: factor sizes, and lists of parts for concats."""
    return [term.size if isinstance(term, Factor) else [sizes(part) for part in term.parts] for term in resolve(axis)]


def test_a_size_of_one_has_no_factor() -> None:
    assert fresh(1) == ()
    assert sizes(fresh(5)) == [5]
    assert size_of(()) == 1


def test_equal_sizes_become_one_factor() -> None:
    a, b = fresh(8), fresh(8)
    unify(a, b)
    assert resolve(a) == resolve(b)
    assert len(factors_of(a)) == 1
    unify(a, b)  # once more changes nothing
    unify(a, a)
    assert sizes(a) == [8]


def test_a_big_factor_is_bound_to_a_product() -> None:
    whole, heads, dim = fresh(24), fresh(4), fresh(6)
    unify(whole, (*heads, *dim))
    assert resolve(whole) == resolve((*heads, *dim))
    other = fresh(24)
    unify(other, whole)
    assert resolve(other) == resolve(whole)
    assert sizes(other) == [4, 6]


def test_two_products_meet_on_their_common_refinement() -> None:
    left, right = (*fresh(4), *fresh(6)), (*fresh(2), *fresh(12))
    unify(left, right)
    assert sizes(left) == sizes(right) == [2, 2, 6]
    assert resolve(left) == resolve(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [([6, 4], [4, 6]), ([8], [9]), ([2, 3], [6, 2]), ([4], []), ([Symbolic(1, ("s0",))], [Symbolic(1, ("s1",))])],
)
def test_axes_without_a_common_layout_are_refused(left: list[object], right: list[object]) -> None:
    with pytest.raises(UnifyError):
        unify(tuple(Factor(size) for size in left), tuple(Factor(size) for size in right))  # type: ignore[arg-type]


def test_one_factor_may_come_to_stand_twice() -> None:
    """A matrix added to its own transpose, both flattened: rows and columns become one."""
    a, b = fresh(2), fresh(4)
    unify((*a, *b), (*b, *a))
    assert len(set(factors_of((*a, *b)))) == 1
    assert sizes((*a, *b)) == [2, 2, 2]


def test_a_concat_cuts_a_factor_at_its_boundaries() -> None:
    whole, q, k, v = fresh(24), fresh(8), fresh(8), fresh(8)
    unify(whole, (Concat((q, k, v)),))
    assert sizes(whole) == [[[8], [8], [8]]]
    assert factors_of(whole) == [*q, *k, *v]


def test_two_concats_meet_on_their_common_refinement() -> None:
    whole = fresh(12)
    unify(whole, (Concat((fresh(4), fresh(8))),))
    unify(whole, (Concat((fresh(6), fresh(6))),))
    assert [factor.size for factor in factors_of(whole)] == [4, 2, 6]


def test_rotary_halves_become_one_factor() -> None:
    """x + cat(-x2, x1): index j and j + d/2 are one unit."""
    x = fresh(8)
    first, second = fresh(4), fresh(4)
    unify(x, (Concat((first, second)),))
    unify(x, (Concat((second, first)),))
    assert len(set(factors_of(x))) == 1
    frequencies = fresh(4)
    unify(x, (Concat((frequencies, frequencies)),))
    assert resolve(frequencies) == resolve(first)


def test_a_cut_through_a_product_splits_its_outer_factor() -> None:
    heads, dim = fresh(6), fresh(4)
    unify((*heads, *dim), (Concat((fresh(8), fresh(16))),))
    assert sizes(heads) == [[[2], [4]]]
    assert sizes(dim) == [4]


def test_a_cut_inside_an_inner_factor_is_refused() -> None:
    with pytest.raises(UnifyError, match="position 10 lies inside a dimension of size 4"):
        unify((Concat(((*fresh(6), *fresh(4)), fresh(10))),), (Concat((fresh(10), fresh(24))),))


def test_a_concat_is_split_by_a_dimension_that_divides_each_part() -> None:
    parts = fresh(4), fresh(8)
    outer, inner = fresh(6), fresh(2)
    unify((Concat(parts),), (*outer, *inner))
    assert sizes(outer) == [[[2], [4]]]
    assert resolve(parts[0])[-1] is resolve(inner)[0]
    with pytest.raises(UnifyError, match="a part of size 3 is cut by a dimension of size 2"):
        unify((Concat((fresh(3), fresh(9))),), (*fresh(6), *fresh(2)))


def test_single_positions_are_parts_without_a_factor() -> None:
    tokens = fresh(10)
    unify(tokens, (Concat(((), fresh(9))),))
    assert [factor.size for factor in factors_of(tokens)] == [9]
    pair = fresh(2)
    unify(pair, (Concat(((), ())),))
    assert factors_of(pair) == []
    assert size_of(pair) == 2


def test_a_factor_is_never_bound_to_a_part_of_itself() -> None:
    x = fresh(6)
    with pytest.raises(UnifyError, match="a part of itself"):
        unify((Concat(((Factor(0),), x)),), x)
    assert sizes(x) == [6]


def test_symbolic_sizes_multiply_and_divide() -> None:
    batch = Symbolic(1, ("s0",))
    folded, b, heads = fresh(Symbolic(4, ("s0",))), fresh(batch), fresh(4)
    unify(folded, (*b, *heads))
    assert resolve(folded) == resolve((*b, *heads))
    assert size_of(folded) == Symbolic(4, ("s0",))


def test_parts_of_symbolic_size_are_refused() -> None:
    with pytest.raises(UnifyError, match="symbolic"):
        unify(fresh(7), (Concat((fresh(Symbolic(1, ("s0",))), fresh(3))),))


def test_sizes_follow_a_cut() -> None:
    whole, heads, dim = fresh(24), fresh(4), fresh(6)
    unify(whole, (*heads, *dim))
    heads[0].size = 3  # type: ignore[misc]
    assert size_of(whole) == 18
    assert Concat((whole, dim)).size == 24
