"""Shape rules of the ops that lay elements out anew: view, permute, squeeze, expand."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

import torch

from fxprune.rules.table import Applied, Call, Literals, Shape, shape_rule
from fxprune.sizes import Size, divide, times

aten = torch.ops.aten


def names(n: int, prefix: str = "d") -> list[str]:
    """Return `n` names for the dimensions of one operand."""
    return [f"{prefix}{i}" for i in range(n)]


def text(*operands: Iterable[str], to: Iterable[Iterable[str]]) -> str:
    """Join dimensions to a rule."""
    return f"{', '.join(map(' '.join, operands))} -> {', '.join(map(' '.join, to))}"


@shape_rule(
    aten.view.default,
    aten.reshape.default,
    aten._unsafe_view.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
    aten.reshape_as.default,
    aten.view_as.default,
)
def view(call: Call) -> Applied:
    """(a, b, 768) as (a, b, 12, 64) is ``a b (c d) -> a b c d``: the dimensions that both sides share."""
    before: list[str] = []
    result: list[str] = []
    sizes: dict[str, Size] = {}
    for place, (left, right) in enumerate(_blocks(call.x, call.out)):
        pieces = _align(left, right, f"p{place}x")
        if pieces is None:
            before += [f"{name}!" for name in names(len(left), f"b{place}x")]
            result += [f"{name}!" for name in names(len(right), f"a{place}x")]
        else:
            before += map(_bracket, pieces[0])
            result += map(_bracket, pieces[1])
            sizes |= pieces[2]
    like = [result for _ in call.operands[1:]]  # view_as takes its sizes from a second operand
    literals = _view_literals(call, [dim.rstrip("!") for dim in result])
    return Applied(text(before, *like, to=[result]), sizes, literals, "a view whose dimensions have no common layout")


def _blocks(left: Shape, right: Shape) -> list[tuple[Shape, Shape]]:
    """Cut both shapes wherever the sizes so far multiply to the same: each block is laid out anew on its own."""
    found: list[tuple[Shape, Shape]] = []
    i = j = 0
    while i < len(left) or j < len(right):
        start_i, start_j = i, j
        total_i, total_j = _size_at(left, i), _size_at(right, j)
        i, j = i + 1, j + 1
        while total_i != total_j and (i < len(left) or j < len(right)):
            if j >= len(right) or (i < len(left) and _is_part(total_i, total_j)):
                total_i, i = times(total_i, left[i]), i + 1
            else:
                total_j, j = times(total_j, right[j]), j + 1
        found.append((left[start_i:i], right[start_j:j]))
    return found


def _is_part(small: Size, large: Size) -> bool:
    """Tell whether a product of sizes has to grow to reach another."""
    if isinstance(small, int) and isinstance(large, int):
        return small < large
    return divide(large, small) is not None or divide(small, large) is None


def _align(left: Shape, right: Shape, prefix: str) -> tuple[list[list[str]], list[list[str]], dict[str, Size]] | None:
    """Cut both shapes at each other's boundaries; None where a boundary falls inside a piece."""
    before: list[list[str]] = [[] for _ in left]
    after: list[list[str]] = [[] for _ in right]
    sizes: dict[str, Size] = {}
    fresh = (f"{prefix}{i}" for i in count())
    i = j = 0
    rest_i, rest_j = _size_at(left, 0), _size_at(right, 0)
    while i < len(left) and j < len(right):
        if rest_i == 1 or rest_j == 1:
            pass
        elif (d := divide(rest_i, rest_j)) is not None:
            name = next(fresh)
            sizes[name] = rest_j
            before[i].append(name)
            after[j].append(name)
            rest_i, rest_j = d, 1
        elif (d := divide(rest_j, rest_i)) is not None:
            name = next(fresh)
            sizes[name] = rest_i
            before[i].append(name)
            after[j].append(name)
            rest_i, rest_j = 1, d
        else:
            return None
        if rest_i == 1:
            i, rest_i = i + 1, _size_at(left, i + 1)
        if rest_j == 1:
            j, rest_j = j + 1, _size_at(right, j + 1)
    complete = all(size == 1 for size in (*left[i:], *right[j:])) or (i == len(left) and j == len(right))
    return (before, after, sizes) if complete else None


def _size_at(shape: Shape, index: int) -> Size:
    return shape[index] if index < len(shape) else 1


def _bracket(pieces: list[str]) -> str:
    """``["a", "b"]`` is ``(a b)``; nothing at all is a size of one."""
    if not pieces:
        return "1"
    return pieces[0] if len(pieces) == 1 else f"({' '.join(pieces)})"


def _view_literals(call: Call, result: list[str]) -> Literals:
    """Every size written down follows its dimension; -1 is computed from the others."""
    argument = next((name for name in ("size", "shape", "sizes") if name in call.arguments), None)
    if argument is None:
        return {}
    first = call["dim"] % len(call.x) if argument == "sizes" else 0
    pairs = zip(call[argument], result[first:], strict=False)
    return {argument: [dim if isinstance(value, int) and value != -1 else None for value, dim in pairs]}


@shape_rule(
    aten.permute.default,
    aten.transpose.int,
    aten.t.default,
    aten.numpy_T.default,
    aten.mT.default,
    aten.swapdims.default,
    aten.moveaxis.int,
    aten.movedim.intlist,
    aten.moveaxis.intlist,
    aten.movedim.int,
    aten.swapaxes.default,
)
def permute(call: Call) -> Applied:
    """``a b c -> a c b``: computed by doing the same to a list of positions."""
    rank = len(call.x)
    probe = torch.empty([1] * rank).as_strided([1] * rank, list(range(1, rank + 1)))
    arguments = {name: value for name, value in call.arguments.items() if name not in ("self", "input")}
    order = [stride - 1 for stride in call.op(probe, **arguments).stride()]
    dims = names(rank)
    return Applied(text(dims, to=[[dims[i] for i in order]]))


@shape_rule(aten.unsqueeze.default)
def unsqueeze(call: Call) -> Applied:
    """``a b -> a 1 b``."""
    dims = names(len(call.x))
    after = list(dims)
    after.insert(call["dim"] % (len(dims) + 1), "1")
    return Applied(text(dims, to=[after]))


@shape_rule(aten.squeeze.dim, aten.squeeze.dims, aten.squeeze.default)
def squeeze(call: Call) -> Applied:
    """``a b c -> a c`` where b is one; a dimension of another size stays, and would vanish if cut to one."""
    dims = names(len(call.x))
    given = call.arguments.get("dim", list(range(len(dims))))
    asked = {dim % len(dims) for dim in ([given] if isinstance(given, int) else given)}
    before = [f"{d}!" if i in asked and call.x[i] != 1 else d for i, d in enumerate(dims)]
    after = [d for i, d in enumerate(dims) if i not in asked or call.x[i] != 1]
    return Applied(text(before, to=[after]), reason="squeezed away if cut to one")


@shape_rule(aten.expand.default, aten.broadcast_to.default, aten.expand_as.default)
def expand(call: Call) -> Applied:
    """``a 1 c -> a n c``: a size of one becomes a new dimension; its literal follows what it meets later."""
    new = names(len(call.out))
    old = ["1" if size == 1 else name for size, name in zip(call.x, new[len(new) - len(call.x) :], strict=True)]
    if len(call.operands) > 1:
        return Applied(text(old, new, to=[new]))
    literals = [
        name if isinstance(value, int) and value not in (-1, 1) else None
        for value, name in zip(call["size"], new, strict=True)
    ]
    return Applied(text(old, to=[new]), literals={"size": literals})
