"""Axis types: what each dimension of a tensor is made of, and the unifier that finds it out.

An axis is a row-major product of terms; a term is an indivisible `Factor` or a `Concat` of axes::

    768            one Factor
    12 x 64        a product, as `view` makes it
    (32 | 32)      a Concat, as `slice`, `split` and `cat` make it

`unify` says that two axes are the same and binds factors until they are. Binding works like in a functional
language: equal sizes become one factor, a big factor is bound to a product, a cut factor to a concat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from fxprune.errors import FxpruneError
from fxprune.sizes import Size, divide, times


class UnifyError(FxpruneError):
    """Two axes that cannot be laid over each other; the analysis freezes both."""


class Factor:
    """One indivisible dimension, until it is bound to an axis of smaller ones."""

    __slots__ = ("bound", "size")

    def __init__(self, size: Size) -> None:
        self.size = size
        self.bound: Axis | None = None

    def __repr__(self) -> str:
        return f"Factor({self.size})" if self.bound is None else f"Factor{self.bound}"


@dataclass(frozen=True, slots=True, eq=False)
class Concat:
    """Axes laid end to end. An empty part `()` is one single position."""

    parts: tuple[Axis, ...]

    @property
    def size(self) -> Size:
        return sum(_integer(size_of(part)) for part in self.parts)


Term: TypeAlias = Factor | Concat
Axis: TypeAlias = tuple[Term, ...]


def fresh(size: Size) -> Axis:
    """Return an axis nothing is known of but its size; a size of 1 has no factor at all."""
    return () if size == 1 else (Factor(size),)


def resolve(axis: Axis) -> Axis:
    """Return `axis` with every bound factor replaced by what it is bound to."""
    if all(type(term) is Concat or term.bound is None for term in axis):  # type: ignore[union-attr]
        return axis
    terms: list[Term] = []
    for term in axis:
        if isinstance(term, Factor) and term.bound is not None:
            term.bound = resolve(term.bound)
            terms.extend(term.bound)
        else:
            terms.append(term)
    return tuple(terms)


def size_of(axis: Axis) -> Size:
    """Return the number of positions on `axis`, as it is now (factors shrink when they are cut)."""
    size: Size = 1
    for term in axis:
        bound = term.bound if isinstance(term, Factor) else None
        size = times(size, term.size if bound is None else size_of(bound))
    return size


def units_of(factor: Factor) -> int:
    """Return the number of units of a factor of known size."""
    assert isinstance(factor.size, int), "only factors of known size have units"
    return factor.size


def factors_of(axis: Axis) -> list[Factor]:
    """Return the free factors inside `axis`, in order, a factor once for each place it stands in."""
    found: list[Factor] = []
    for term in resolve(axis):
        if isinstance(term, Factor):
            found.append(term)
        else:
            for part in term.parts:
                found.extend(factors_of(part))
    return found


def _integer(size: Size) -> int:
    if isinstance(size, int):
        return size
    raise UnifyError(f"a part of symbolic size {size} cannot be laid beside others")


def unify(left: Axis, right: Axis) -> None:
    """Make `left` and `right` the same axis.

    Raises:
        UnifyError: their sizes differ, or no common row-major layout exists (6 x 4 against 4 x 6).
    """
    if left is right:
        return
    todo_left, todo_right = list(reversed(resolve(left))), list(reversed(resolve(right)))
    while todo_left and todo_right:
        x, y = _pop(todo_left), _pop(todo_right)
        if x is y:
            continue
        if x.size == y.size:
            _bind(x, y)
        elif (rest := divide(x.size, y.size)) is not None:
            todo_left.append(_split_off(x, y, rest))
        elif (rest := divide(y.size, x.size)) is not None:
            todo_right.append(_split_off(y, x, rest))
        else:
            raise UnifyError(f"sizes {x.size} and {y.size} have no common layout")
    if todo_left or todo_right:
        raise UnifyError(f"sizes {size_of(left)} and {size_of(right)} differ")


def _pop(todo: list[Term]) -> Term:
    """Take the next free term: a binding made on the way may have replaced it."""
    term = todo.pop()
    while isinstance(term, Factor) and term.bound is not None:
        todo.extend(reversed(resolve((term,))))
        term = todo.pop()
    return term


def _split_off(big: Term, outer: Term, rest: Size) -> Term:
    """Bind `big` to ``outer x inner`` with an inner factor of size `rest`, which is returned."""
    inner = Factor(rest)
    if isinstance(big, Factor):
        big.bound = (outer, inner)
        return inner
    # (p | q | r) = (p' | q' | r') x inner, when inner divides each of them
    heads: list[Axis] = []
    for part in big.parts:
        head = divide(size_of(part), rest)
        if head is None:
            raise UnifyError(f"a part of size {size_of(part)} is cut by a dimension of size {rest}")
        heads.append(fresh(head))
        unify(part, (*heads[-1], inner))
    unify((outer,), (Concat(tuple(heads)),))
    return inner


def _bind(x: Term, y: Term) -> None:
    """Make two terms of equal size the same."""
    if isinstance(y, Factor):
        _bind_factor(y, x)
    elif isinstance(x, Factor):
        _bind_factor(x, y)
    else:
        _refine(x, y)


def _bind_factor(factor: Factor, term: Term) -> None:
    if isinstance(term, Concat) and factor in factors_of((term,)):
        raise UnifyError(f"a dimension of size {factor.size} would be a part of itself")  # beside parts of size zero
    factor.bound = (term,)


def _refine(left: Concat, right: Concat) -> None:
    """Cut two concats at each other's boundaries and unify the pieces pairwise."""
    todo_left, todo_right = list(reversed(left.parts)), list(reversed(right.parts))
    while todo_left and todo_right:
        p, q = todo_left.pop(), todo_right.pop()
        size_p, size_q = _integer(size_of(p)), _integer(size_of(q))
        if size_p == size_q:
            unify(p, q)
        elif size_p > size_q:
            todo_left.extend(_cut(p, size_q))
            todo_right.append(q)
        else:
            todo_right.extend(_cut(q, size_p))
            todo_left.append(p)


def _cut(axis: Axis, at: int) -> list[Axis]:
    """Cut `axis` after `at` positions; the parts come last first, as a stack wants them."""
    first, *inner_terms = resolve(axis)
    inner = tuple(inner_terms)
    if isinstance(first, Factor):
        head, remainder = divmod(at, _integer(size_of(inner)))
        if remainder or not isinstance(first.size, int):
            raise UnifyError(f"position {at} lies inside a dimension of size {size_of(inner)}")
        first.bound = (Concat((fresh(head), fresh(first.size - head))),)
        (cut,) = resolve((first,))
        assert isinstance(cut, Concat)
        first = cut
    return [(*part, *inner) for part in reversed(first.parts)]  # (a | b) x inner = (a x inner | b x inner)
