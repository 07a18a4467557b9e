"""Shape rules of the ops that move elements about: view, permute, slice, split, cat, expand."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

import torch

from fxprune.rules.table import Applied, Call, Shape, opaque, shape_rule
from fxprune.sizes import Size, divide

aten = torch.ops.aten
END = 2**62  # slices to the end carry an end near 2**63


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
    pieces = _align(call.x, call.out)
    if pieces is None:
        return opaque(call, "a view whose dimensions have no common layout")
    before, after, sizes = pieces
    others = [names(len(shape), f"other{i}_") for i, shape in enumerate(call.operands[1:]) if shape is not None]
    literals, locked = _view_literals(call, after)
    rule = text([_bracket(dim, locked) for dim in before], *others, to=[[_bracket(dim) for dim in after]])
    return Applied(rule, sizes, literals, reason="a symbolic size that counts it")


def _align(left: Shape, right: Shape) -> tuple[list[list[str]], list[list[str]], dict[str, Size]] | None:
    """Cut both shapes at each other's boundaries; None where a boundary falls inside a piece."""
    before: list[list[str]] = [[] for _ in left]
    after: list[list[str]] = [[] for _ in right]
    sizes: dict[str, Size] = {}
    fresh = (f"p{i}" for i in count())
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


def _bracket(pieces: list[str], locked: frozenset[str] = frozenset()) -> str:
    """``["a", "b"]`` is ``(a b)``; nothing at all is a size of one."""
    flagged = [f"{piece}!" if piece in locked else piece for piece in pieces]
    if not flagged:
        return "1"
    return flagged[0] if len(flagged) == 1 else f"({' '.join(flagged)})"


def _view_literals(call: Call, after: list[list[str]]) -> tuple[dict[str, list[str | None]], frozenset[str]]:
    """Which sizes of the call follow which pieces, and the pieces no literal can follow."""
    argument = next((name for name in ("size", "shape", "sizes") if name in call.arguments), None)
    if argument is None:
        return {}, frozenset()
    given = list(call[argument])
    first = call["dim"] % len(call.x) if argument == "sizes" else 0
    literals: list[str | None] = []
    locked: set[str] = set()
    for value, pieces, size in zip(given, after[first:], call.out[first:], strict=False):
        literal = isinstance(value, int) and value != -1
        literals.append(_bracket(pieces) if literal else None)
        if not isinstance(value, int) and not isinstance(size, int) and size.coefficient != 1:
            locked.update(pieces)  # a computed size such as 4 * batch: no literal to rewrite
    return {argument: literals}, frozenset(locked)


@shape_rule(
    aten.permute.default,
    aten.transpose.int,
    aten.t.default,
    aten.numpy_T.default,
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
    """``a b c -> a c`` where b is one; a dimension of another size stays."""
    dims = names(len(call.x))
    given = call.arguments.get("dim", list(range(len(dims))))
    gone = {dim % len(dims) for dim in ([given] if isinstance(given, int) else given)}
    return Applied(text(dims, to=[[d for i, d in enumerate(dims) if i not in gone or call.x[i] != 1]]))


@shape_rule(aten.expand.default, aten.expand_as.default, aten.broadcast_to.default)
def expand(call: Call) -> Applied:
    """``a 1 c -> a n c``: a size of one becomes a new dimension; its literal follows what it meets later."""
    new = names(len(call.out))
    old = ["1" if size == 1 else name for size, name in zip(call.x, new[len(new) - len(call.x) :], strict=True)]
    other = [[]] if len(call.operands) > 1 else []
    given = call.arguments.get("size")
    literals = (
        {} if given is None else {"size": [_follows(value, name) for value, name in zip(given, new, strict=True)]}
    )
    if other:
        return Applied(text(old, new, to=[new]))
    return Applied(text(old, to=[new]), literals=literals)


def _follows(value: object, name: str) -> str | None:
    return name if isinstance(value, int) and value not in (-1, 1) else None


@shape_rule(aten.slice.Tensor)
def slice_(call: Call) -> Applied:
    """x[:, 2:5] of eight is ``a (before + x + after) -> a x``; every second element is one half of a product."""
    dims, dim = names(len(call.x)), call["dim"] % len(call.x)
    size, out = call.x[dim], call.out[dim]
    before, after = list(dims), list(dims)
    if size == out:
        return Applied(text(dims, to=[dims]))
    if not isinstance(size, int) or not isinstance(out, int):
        before[dim], after[dim] = "cut!", "kept!"
        return Applied(text(before, to=[after]), reason="a slice of symbolic length")
    start, step = _position(call["start"], size, 0), call["step"]
    if step != 1:
        if size % step or start >= step or out != size // step:
            return opaque(call, "a strided slice that leaves a remainder")
        before[dim], after[dim] = "(kept phase!)", "kept"
        return Applied(text(before, to=[after]), {"phase": step}, reason="one phase of a strided slice")
    pieces = {"before": start, "kept": out, "after": size - start - out}
    present = [name for name, length in pieces.items() if length]
    before[dim], after[dim] = f"({' + '.join(present)})", "kept"
    literals = {"end": "(before + kept)" if start else "kept"}
    if start:
        literals["start"] = "before"
    return Applied(text(before, to=[after]), pieces, literals)


def _position(value: int | None, size: int, default: int) -> int:
    if value is None:
        return default
    return min(value + size if value < 0 else value, size)


@shape_rule(
    aten.split_with_sizes.default, aten.split.Tensor, aten.chunk.default, aten.split.sizes, aten.unsafe_chunk.default
)
def split(call: Call) -> Applied:
    """(2, 9, 2304) in three on axis 2 is ``a b (x0 + x1 + x2) -> a b x0, a b x1, a b x2``."""
    dims, dim = names(len(call.x)), call["dim"] % len(call.x)
    if not isinstance(call.x[dim], int):
        return opaque(call, "a split of a symbolic dimension")
    parts = names(len(call.results), "x")
    before = list(dims)
    before[dim] = parts[0] if len(parts) == 1 else f"({' + '.join(parts)})"
    results = [[*dims[:dim], part, *dims[dim + 1 :]] for part in parts]
    argument = next((name for name in ("split_sizes", "split_size") if name in call.arguments), None)
    literals: dict[str, str | list[str | None]] = {}
    if argument is not None and isinstance(call[argument], (list, tuple)):
        literals[argument] = [*parts]
    return Applied(text(before, to=results), literals=literals)


@shape_rule(aten.cat.default, aten.concat.default)
def cat(call: Call) -> Applied:
    """``a x, a y -> a (x + y)``."""
    shapes = [shape for shape in call.operands if shape is not None]
    rank = len(call.out)
    dims, dim = names(rank), call["dim"] % rank
    parts = names(len(shapes), "x")
    operands = [[*dims[:dim], part, *dims[dim + 1 :]] for part in parts]
    result = list(dims)
    if isinstance(call.out[dim], int):
        result[dim] = parts[0] if len(parts) == 1 else f"({' + '.join(parts)})"
        return Applied(text(*operands, to=[result]))
    result[dim] = "all"
    for operand, part in zip(operands, parts, strict=True):
        operand[dim] = f"{part}!"
    return Applied(text(*operands, to=[result]), reason="laid end to end with a symbolic length")


@shape_rule(aten.stack.default)
def stack(call: Call) -> Applied:
    """``a, a -> a (1 + 1)``."""
    dims = names(len(call.x))
    result = list(dims)
    count = len(call.operands)
    result.insert(call["dim"] % len(call.out), "1" if count == 1 else f"({' + '.join(['1'] * count)})")
    return Applied(text(*[dims] * count, to=[result]))


@shape_rule(aten.select.int)
def select(call: Call) -> Applied:
    """``a n! b -> a b``: one position is picked."""
    dims, dim = names(len(call.x)), call["dim"] % len(call.x)
    before = list(dims)
    before[dim] += "!"
    return Applied(text(before, to=[dims[:dim] + dims[dim + 1 :]]), reason="one position is selected")


@shape_rule(aten.unbind.int)
def unbind(call: Call) -> Applied:
    """``a n! -> a, a``: every position goes its own way."""
    dims, dim = names(len(call.x)), call["dim"] % len(call.x)
    before = list(dims)
    before[dim] += "!"
    rest = dims[:dim] + dims[dim + 1 :]
    return Applied(text(before, to=[rest] * len(call.results)), reason="every position is used on its own")


@shape_rule(aten.repeat.default)
def repeat(call: Call) -> Applied:
    """Twice in a row is ``a -> (r a)``."""
    new = names(len(call.out))
    old = new[len(new) - len(call.x) :]
    sizes: dict[str, Size] = {}
    result: list[str] = []
    literals: list[str | None] = []
    shape = (1,) * (len(new) - len(old)) + call.x
    for name, times_, size in zip(new, call["repeats"], shape, strict=True):
        plain = times_ == 1 or not isinstance(times_, int) or not isinstance(size, int)
        result.append(name if plain else f"(r{name} {name})" if size != 1 else f"r{name}")
        literals.append(None if plain else f"r{name}")
        if not plain:
            sizes[f"r{name}"] = times_
        if not isinstance(times_, int):
            result[-1] = f"s{name}"
    return Applied(text(old, to=[result]), sizes, {"repeats": literals})


@shape_rule(aten.repeat_interleave.self_int)
def repeat_interleave(call: Call) -> Applied:
    """Each position twice is ``a -> (a r)``."""
    if call["dim"] is None:
        return opaque(call, "repeat_interleave over a flattened tensor")
    dims, dim = names(len(call.x)), call["dim"] % len(call.x)
    after = list(dims)
    after[dim] = f"({dims[dim]} r)"
    return Applied(text(dims, to=[after]), {"r": call["repeats"]}, {"repeats": "r"})


@shape_rule(aten.flip.default, aten.roll.default)
def reorder(call: Call) -> Applied:
    """Positions change places, so those dimensions stay whole."""
    dims = names(len(call.x))
    moved = {dim % len(dims) for dim in (call["dims"] or range(len(dims)))}
    before = [f"{name}!" if i in moved else name for i, name in enumerate(dims)]
    return Applied(text(before, to=[dims]), reason="positions change places")
