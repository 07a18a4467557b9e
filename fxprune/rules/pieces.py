"""Shape rules of the ops that take tensors apart and put them together: slice, split, cat, stack, select, repeat."""

from __future__ import annotations

import torch

from fxprune.rules.layout import names, text
from fxprune.rules.table import Applied, Call, Literals, Shape, opaque, shape_rule
from fxprune.sizes import Size, divide

aten = torch.ops.aten


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
    start, step = _from_front(call["start"], size), call["step"]
    if step != 1:
        if size % step or start >= step or out != size // step:
            return opaque(call, "a strided slice that leaves a remainder")
        before[dim], after[dim] = "(kept phase!)", "kept"
        literals: Literals = {"end": "(kept phase)"}
        return Applied(text(before, to=[after]), {"phase": step}, literals, "one phase of a strided slice")
    pieces = {"before": start, "kept": out, "after": size - start - out}
    present = [name for name, length in pieces.items() if length]
    before[dim], after[dim] = f"({' + '.join(present)})", "kept"
    literals = {"start": "before", "end": "(before + kept)"} if start else {"end": "kept"}
    return Applied(text(before, to=[after]), pieces, literals)


def _from_front(bound: int | None, size: int) -> int:
    """Return where a slice of `size` positions starts; a negative bound counts from the end."""
    start = bound or 0
    return min(max(start + size if start < 0 else start, 0), size)


@shape_rule(aten.split_with_sizes.default, aten.split.sizes)
def split_with_sizes(call: Call) -> Applied:
    """(2, 9, 2304) in three on axis 2 is ``a b (x0 + x1 + x2) -> a b x0, a b x1, a b x2``."""
    dim = call["dim"] % len(call.x)
    parts = names(len(call.results), "x")
    if not all(isinstance(shape[dim], int) for shape in (call.x, *call.results)):
        return _split_by_data(call, dim)
    return Applied(
        _split(call, dim, parts),
        literals={"split_sizes" if "split_sizes" in call.arguments else "split_size": list(parts)},
    )


@shape_rule(aten.split.Tensor, aten.chunk.default, aten.unsafe_chunk.default)
def split_evenly(call: Call) -> Applied:
    """In three equal parts it is ``a (x + x + x) -> a x, a x, a x``: they stay equal, for there is one size for all.

    The pass `ExplicitSizes` writes these ops as split_with_sizes, where each part has a size of its own.
    """
    dim = call["dim"] % len(call.x)
    lengths = {result[dim] for result in call.results}
    if not isinstance(call.x[dim], int) or len(lengths) > 1:
        return opaque(call, "a split into uneven parts, whose sizes nobody wrote down")
    literals: Literals = {"split_size": "x"} if "split_size" in call.arguments else {}
    return Applied(_split(call, dim, ["x"] * len(call.results)), literals=literals)


def _split_by_data(call: Call, dim: int) -> Applied:
    dims = names(len(call.x))
    before = [*dims[:dim], "cut!", *dims[dim + 1 :]]
    after = [[*dims[:dim], f"{part}!", *dims[dim + 1 :]] for part in names(len(call.results), "x")]
    return Applied(text(before, to=after), reason="a split of a symbolic dimension")


def _split(call: Call, dim: int, parts: list[str]) -> str:
    dims = names(len(call.x))
    before = [*dims[:dim], _laid_out(parts), *dims[dim + 1 :]]
    return text(before, to=[[*dims[:dim], part, *dims[dim + 1 :]] for part in parts])


def _laid_out(parts: list[str]) -> str:
    """``["x", "y"]`` is ``(x + y)``."""
    return parts[0] if len(parts) == 1 else f"({' + '.join(parts)})"


@shape_rule(aten.cat.default, aten.concat.default)
def cat(call: Call) -> Applied:
    """``a x, a y -> a (x + y)``; one that is empty and has one dimension is passed over, as the op does."""
    shapes = [shape for shape in call.operands if shape is not None]
    rank = len(call.out)
    dims, dim = names(rank), call["dim"] % rank
    passed = {i for i, shape in enumerate(shapes) if rank > 1 and shape == (0,)}
    laid = [shape for i, shape in enumerate(shapes) if i not in passed]
    if any(len(shape) != rank for shape in laid):
        return opaque(call, "laid beside a tensor of another rank, which is empty")
    parts, result = names(len(shapes), "x"), list(dims)
    mark = "" if all(isinstance(shape[dim], int) for shape in (call.out, *laid)) else "!"
    operands = [
        [f"{part}!"] if i in passed else [*dims[:dim], f"{part}{mark}", *dims[dim + 1 :]]
        for i, part in enumerate(parts)
    ]
    there = [part for i, part in enumerate(parts) if i not in passed and shapes[i][dim] != 0]
    result[dim] = "all" if mark else _laid_out(there)
    return Applied(text(*operands, to=[result]), reason="laid end to end with a symbolic length")


@shape_rule(aten.stack.default)
def stack(call: Call) -> Applied:
    """``a, a -> a (1 + 1)``."""
    dims = names(len(call.x))
    result = list(dims)
    result.insert(call["dim"] % len(call.out), _laid_out(["1"] * len(call.operands)))
    return Applied(text(*[dims] * len(call.operands), to=[result]))


@shape_rule(aten.select.int)
def select(call: Call) -> Applied:
    """``a n! b -> a b``: one position is picked."""
    return _apart(call, "one position is selected")


@shape_rule(aten.unbind.int)
def unbind(call: Call) -> Applied:
    """``a n! -> a, a``: every position goes its own way."""
    return _apart(call, "every position is used on its own")


def _apart(call: Call, reason: str) -> Applied:
    dims, dim = names(len(call.x)), call["dim"] % len(call.x)
    before = [*dims[:dim], f"{dims[dim]}!", *dims[dim + 1 :]]
    return Applied(text(before, to=[dims[:dim] + dims[dim + 1 :]] * len(call.results)), reason=reason)


@shape_rule(aten.repeat.default)
def repeat(call: Call) -> Applied:
    """Twice in a row is ``a -> (r a)``."""
    new = names(len(call.out))
    old = new[len(new) - len(call.x) :]
    shape: Shape = (*[1] * (len(new) - len(old)), *call.x)
    sizes: dict[str, Size] = {}
    result: list[str] = []
    literals: list[str | None] = []
    for name, given, size, out in zip(new, call["repeats"], shape, call.out, strict=True):
        copies = divide(out, size)
        if copies is None:
            return opaque(call, "repeated a symbolic number of times")
        repeated = f"r{name}"
        sizes[repeated] = copies
        result.append(repeated if size == 1 else name if copies == 1 else f"({repeated} {name})")
        literals.append(repeated if isinstance(given, int) and copies != 1 else None)
    return Applied(text(old, to=[result]), sizes, {"repeats": literals})


@shape_rule(aten.repeat_interleave.self_int)
def repeat_interleave(call: Call) -> Applied:
    """Each position twice is ``a -> (a r)``."""
    copies, total = call["repeats"], call["output_size"]
    if call["dim"] is None or not isinstance(copies, int):
        return opaque(call, "repeat_interleave over a flattened tensor, or a symbolic number of times")
    dims, dim = names(len(call.x)), call["dim"] % len(call.x)
    whole = f"({dims[dim]} r)"
    literals: Literals = {"repeats": "r", **({"output_size": whole} if isinstance(total, int) else {})}
    return Applied(text(dims, to=[[*dims[:dim], whole, *dims[dim + 1 :]]]), {"r": copies}, literals)


@shape_rule(aten.flip.default, aten.roll.default)
def reorder(call: Call) -> Applied:
    """Positions change places, so those dimensions stay whole."""
    dims = names(len(call.x))
    moved = {dim % len(dims) for dim in (call["dims"] or range(len(dims)))}
    before = [f"{name}!" if i in moved else name for i, name in enumerate(dims)]
    return Applied(text(before, to=[dims]), reason="positions change places")
