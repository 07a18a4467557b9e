"""Calls that the rules are tried on. A shape rule needs an entry here; text rules make their own from their text."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from rules.law import Sample
from torch import Tensor
from torch._ops import OpOverload

from fxprune.rules import Applied, parameters_of
from fxprune.rules.notation import Name, Operand, parse

aten = torch.ops.aten
END = 2**63 - 1


def t(*shape: int) -> Tensor:
    """A random tensor in which no two entries are equal."""
    return torch.randn(shape, dtype=torch.float64)


def ids(n: int, *shape: int) -> Tensor:
    """Random indices below `n`."""
    return torch.randint(n, shape)


def shape_samples() -> dict[OpOverload, list[Sample]]:
    """Return the calls of every op with a shape rule."""
    found: dict[OpOverload, list[Sample]] = {}
    for op, *args in [*_layout(), *_compute(), *_constants()]:
        kwargs = args.pop() if args and isinstance(args[-1], dict) else {}
        found.setdefault(op, []).append(Sample.of(op, *args, **kwargs))
    return found


def _layout() -> list[tuple[Any, ...]]:
    return [
        *_views(),
        *[(op, t(2, 3, 4), *args) for op, *args in _PERMUTES],
        (aten.t.default, t(3, 4)),
        (aten.t.default, t(3)),
        (aten.numpy_T.default, t(2, 3, 4)),
        *[(aten.unsqueeze.default, t(2, 3), dim) for dim in (0, 1, 2, -1, -2, -3)],
        *[(aten.squeeze.dim, t(2, 1, 3), dim) for dim in (0, 1, -2, -1)],
        (aten.squeeze.dims, t(1, 2, 1, 3), [0, -2]),
        (aten.squeeze.dims, t(1, 2, 1, 3), [0, 1]),
        (aten.squeeze.default, t(1, 2, 1, 3)),
        *_expands(),
        *_slices(),
        *_splits(),
        *_joins(),
        *[(aten.select.int, t(2, 3, 4), dim, i) for dim, i in ((0, 1), (1, -1), (-1, 2))],
        *[(aten.unbind.int, t(2, 3, 4), dim) for dim in (0, 1, -1)],
        *_repeats(),
        (aten.flip.default, t(2, 3, 4), [1]),
        (aten.flip.default, t(2, 3, 4), [-1, 0]),
        (aten.roll.default, t(2, 3, 4), [1], [1]),
        (aten.roll.default, t(2, 3, 4), [1, 2], [0, -1]),
        (aten.roll.default, t(2, 3, 4), [1]),
    ]


_PERMUTES = [
    (aten.permute.default, [0, 2, 1]),
    (aten.permute.default, [-1, 0, 1]),
    (aten.transpose.int, 0, 2),
    (aten.transpose.int, -1, 1),
    (aten.transpose.int, 1, 1),
    (aten.movedim.int, 0, -1),
    (aten.movedim.int, 2, 0),
    (aten.swapaxes.default, 0, 1),
    (aten.swapdims.default, 0, 1),
    (aten.movedim.intlist, [0, 1], [2, 0]),
    (aten.moveaxis.int, 0, -1),
    (aten.moveaxis.intlist, [0, 1], [2, 0]),
    (aten.mT.default,),
]


def _views() -> list[tuple[Any, ...]]:
    shapes = [
        ((2, 3, 24), [2, 3, 4, 6]),  # split
        ((2, 3, 24), [2, 3, -1, 6]),
        ((2, 3, 24), [2, 3, 4, -1]),
        ((2, 3, 24), [-1, 24]),  # merge
        ((2, 3, 4, 6), [2, 3, 24]),
        ((2, 3, 4, 6), [2, 12, 6]),
        ((2, 3, 4, 6), [2, 3, -1]),
        ((2, 12, 6), [2, 3, 24]),  # both at once
        ((2, 3, 24), [6, 2, 2, 6]),
        ((4, 6), [24]),
        ((24,), [2, 3, 4]),
        ((2, 1, 6), [2, 6]),  # sizes of one come and go
        ((2, 6), [1, 2, 1, 6, 1]),
        ((1, 1, 6), [6]),
        ((2, 3), [2, 3]),
        ((6, 4), [4, 6]),  # no common layout
        ((8, 3), [12, 2]),
    ]
    rows: list[tuple[Any, ...]] = []
    for op in (aten.view.default, aten.reshape.default, aten._unsafe_view.default):
        rows += [(op, t(*before), after) for before, after in shapes]
    return [
        *rows,
        (aten.flatten.using_ints, t(2, 3, 4), 1),
        (aten.flatten.using_ints, t(2, 3, 4), 0, 1),
        (aten.flatten.using_ints, t(2, 3, 4), -2, -1),
        (aten.flatten.using_ints, t(3)),
        (aten.unflatten.int, t(2, 12), 1, [3, 4]),
        (aten.unflatten.int, t(2, 12), -1, [-1, 4]),
        (aten.unflatten.int, t(12, 2), 0, [3, 2, 2]),
        *[(op, t(2, 3, 24), t(2, 3, 4, 6)) for op in (aten.reshape_as.default, aten.view_as.default)],
        *[(op, t(2, 3, 4, 6), t(6, 24)) for op in (aten.reshape_as.default, aten.view_as.default)],
    ]


def _expands() -> list[tuple[Any, ...]]:
    return [
        (aten.expand.default, t(2, 1, 4), [2, 3, 4]),
        (aten.expand.default, t(2, 1, 4), [-1, 3, -1]),
        (aten.expand.default, t(1, 4), [5, 3, 4]),
        (aten.expand.default, t(4), [2, 3, 4]),
        (aten.expand.default, t(1, 1), [1, 3]),
        (aten.broadcast_to.default, t(1, 4), [3, 4]),
        (aten.broadcast_to.default, t(4), [3, 4]),
        (aten.expand_as.default, t(1, 4), t(3, 4)),
        (aten.expand_as.default, t(4), t(2, 3, 4)),
    ]


def _slices() -> list[tuple[Any, ...]]:
    bounds = [
        (0, 4, 1),
        (2, 5, 1),
        (5, END, 1),
        (None, None, 1),
        (0, END, 1),
        (-3, END, 1),
        (-5, -2, 1),
        (2, -1, 1),
        (0, 100, 1),
        (-100, 3, 1),
        (3, 4, 1),
        (0, END, 2),
        (1, END, 2),
        (0, 8, 4),
        (3, END, 4),
        (0, 7, 2),
        (1, 8, 3),  # leaves a remainder
        (8, END, 1),  # nothing is left
        (0, 0, 1),
        (4, END, 2),
    ]
    rows = [(aten.slice.Tensor, t(2, 8, 3), 1, *bound) for bound in bounds]
    return [*rows, (aten.slice.Tensor, t(2, 3, 8), -1, 2, 6), (aten.slice.Tensor, t(8))]


def _splits() -> list[tuple[Any, ...]]:
    return [
        *[(op, t(2, 9), [2, 3, 4], 1) for op in (aten.split_with_sizes.default, aten.split.sizes)],
        *[(op, t(9, 2), [4, 4, 1]) for op in (aten.split_with_sizes.default, aten.split.sizes)],
        (aten.split_with_sizes.default, t(2, 9, 3), [9], 1),
        (aten.split_with_sizes.default, t(2, 9, 3), [3, 6], -2),
        (aten.split.Tensor, t(2, 9), 3, 1),
        (aten.split.Tensor, t(2, 9), 4, -1),  # uneven
        (aten.split.Tensor, t(2, 9), 9, 1),
        (aten.split.Tensor, t(2, 9), 20, 1),
        *[(op, t(2, 9, 3), 3, 1) for op in (aten.chunk.default, aten.unsafe_chunk.default)],
        *[(op, t(2, 9, 3), 2, -2) for op in (aten.chunk.default, aten.unsafe_chunk.default)],
        *[(op, t(2, 3), 1, 0) for op in (aten.chunk.default, aten.unsafe_chunk.default)],
        *[(op, t(2, 3), 5, 1) for op in (aten.chunk.default, aten.unsafe_chunk.default)],
    ]


def _joins() -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for op in (aten.cat.default, aten.concat.default):
        rows += [(op, [t(2, 3), t(2, 0)], 1), (op, [t(2, 0), t(2, 3), t(2, 4)], 1), (op, [t(0), t(2, 3)], 1)]
        rows += [(op, [t(2, 3), t(2, 4)], 1), (op, [t(3, 2), t(1, 2), t(4, 2)]), (op, [t(2, 3)], -1)]
    return [
        *rows,
        (aten.stack.default, [t(2, 3), t(2, 3)]),
        (aten.stack.default, [t(2, 3), t(2, 3), t(2, 3)], -1),
        (aten.stack.default, [t(2, 3)], 1),
    ]


def _repeats() -> list[tuple[Any, ...]]:
    return [
        (aten.repeat.default, t(2, 3), [2, 1]),
        (aten.repeat.default, t(2, 3), [3, 2]),
        (aten.repeat.default, t(2, 3), [4, 1, 2]),
        (aten.repeat.default, t(1, 3), [4, 1]),
        (aten.repeat.default, t(3), [2, 2, 1]),
        (aten.repeat_interleave.self_int, t(2, 3), 2, 1),
        (aten.repeat_interleave.self_int, t(2, 3), 3, 0),
        (aten.repeat_interleave.self_int, t(2, 3), 2, -1, {"output_size": 6}),
        (aten.repeat_interleave.self_int, t(2, 3), 2),
        (aten.repeat_interleave.self_int, t(2, 1), 4, 1),
    ]


def _compute() -> list[tuple[Any, ...]]:
    return [
        *_attention(),
        *_products(),
        *_reductions(),
        *_convolutions(),
        *_resizing(),
        *_indexing(),
        *_writing(),
        *_norms(),
    ]


def _attention() -> list[tuple[Any, ...]]:
    op, q, k, v = aten.scaled_dot_product_attention.default, t(2, 4, 3, 6), t(2, 4, 5, 6), t(2, 4, 5, 7)
    fixed = {"scale": 0.5}  # a pass pins it: the default would move with the cut
    gqa = fixed | {"enable_gqa": True}
    few = t(2, 2, 5, 6), t(2, 2, 5, 7)
    return [
        (op, q, k, v, fixed),
        (op, q[0], k[0], v[0], fixed),
        (op, q, k, v, t(3, 5), fixed),
        (op, q, k, v, t(2, 1, 3, 5), fixed),
        (op, q, k, v, t(2, 4, 3, 5), fixed),
        (op, q, k, v, t(1, 4, 1, 5), fixed),
        (op, q, k, v, t(2, 1, 3, 5) > 0, fixed),
        (op, q, k, v, None, 0.0, True, fixed),
        (op, q, *few, gqa),
        (op, q, *few, t(2, 1, 3, 5), gqa),
        (op, q, *few, t(2, 4, 3, 5), gqa),
        (op, q, k, v, gqa),
    ]


def _products() -> list[tuple[Any, ...]]:
    pairs = [
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((4,), (4, 5)),
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((3, 4), (2, 4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 6, 3, 4), (6, 4, 5)),
        ((2, 1, 3, 4), (6, 4, 5)),
        ((2, 3, 4), (4,)),
        ((4,), (2, 4, 5)),
        ((2, 1, 4), (2, 4, 1)),
    ]
    equations = [
        ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
        ("bqhd,bkhd->bhqk", (2, 3, 4, 5), (2, 6, 4, 5)),
        ("bhqk,bkhd->bqhd", (2, 4, 3, 6), (2, 6, 4, 5)),
        ("bsd,dhe->bshe", (2, 3, 4), (4, 5, 6)),
        ("...d,de->...e", (2, 3, 4), (4, 5)),
        ("b...d,de->b...e", (2, 3, 6, 4), (4, 5)),
        ("i,j->ij", (3,), (4,)),
        ("ij->ji", (3, 4)),
        ("ij->i", (3, 4)),
        ("ij,kl->il", (3, 4), (5, 6)),
        ("ii->i", (4, 4)),
        ("bij,bjk", (2, 3, 4), (2, 4, 5)),
        ("bij, bjk -> bki", (2, 3, 4), (1, 4, 5)),
        ("xYz,Yz->x", (2, 3, 4), (3, 4)),
    ]
    return [
        *[(aten.matmul.default, t(*a), t(*b)) for a, b in pairs],
        *[(aten.einsum.default, equation, [t(*shape) for shape in shapes]) for equation, *shapes in equations],
        *[(aten.addmm.default, t(*bias), t(3, 4), t(4, 5)) for bias in ((5,), (3, 5), (1, 5), (3, 1), (1,), ())],
        *[
            (aten.baddbmm.default, t(*bias), t(2, 3, 4), t(2, 4, 5))
            for bias in ((2, 3, 5), (2, 1, 5), (1, 3, 5), (3, 5), (5,), (2, 3, 1))
        ],
        *[
            (aten.linalg_solve_triangular.default, t(*a), t(*b), {"upper": upper, "left": left})
            for upper in (False, True)
            for a, b, left in (((3, 3), (3, 4), True), ((2, 3, 3), (2, 3, 4), True), ((2, 3, 3), (2, 4, 3), False))
        ],
    ]


def _reductions() -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for op in (aten.softmax.int, aten.log_softmax.int, aten.cumsum.default):
        rows += [(op, t(2, 3, 4), dim) for dim in (0, 1, -1)]
    rows += [(aten._softmax.default, t(2, 3, 4), dim, False) for dim in (1, -1)]
    rows += [(aten.logsumexp.default, t(2, 3, 4), dims, keep) for dims in ([1], [-1, 0]) for keep in (False, True)]
    several = [([1], False), ([-1], True), ([0, 2], False), ([0, -1], True), (None, False), ([], True)]
    for op in (aten.sum.dim_IntList, aten.mean.dim):
        rows += [(op, t(2, 3, 4), dims, keep) for dims, keep in several]
    for op in (aten.var.correction, aten.std.correction):
        rows += [(op, t(2, 3, 4), dims, {"keepdim": keep}) for dims, keep in several]
    for op in (aten.var.dim, aten.std.dim):
        rows += [(op, t(2, 3, 4), dims, True, keep) for dims, keep in several]
    for order in (2, 1, 0, float("inf"), -1, float("-inf")):
        rows += [(aten.linalg_vector_norm.default, t(2, 3, 4), order, dims, keep) for dims, keep in several[:5]]
    for op in (aten.amax.default, aten.amin.default):
        rows += [(op, t(2, 3, 4), dims, keep) for dims, keep in several if dims is not None]
    for op in (aten.max.dim, aten.min.dim, aten.any.dim, aten.all.dim, aten.argmax.default):
        rows += [(op, t(2, 3, 4), dim, keep) for dim in (1, -1) for keep in (False, True)]
    return [*rows, (aten.argmax.default, t(2, 3)), (aten.argmax.default, t(2, 3), None, True)]


def _convolutions() -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for rank, op in enumerate((aten.conv1d.default, aten.conv2d.default, aten.conv3d.default), start=1):
        x, w = t(2, 3, *[7] * rank), t(4, 3, *[3] * rank)
        rows += [(op, x, w), (op, x, w, t(4), [2] * rank, [1] * rank), (op, x[0], w, t(4))]
        rows += [(op, x, t(3, 1, *[3] * rank), t(3), {"groups": 3})]  # depthwise
        rows += [(op, x, t(6, 1, *[3] * rank), t(6), {"groups": 3}), (op, x, t(4, 3, *[7] * rank))]
        rows += [(op, t(2, 4, *[7] * rank), t(6, 2, *[3] * rank), t(6), {"groups": 2})]
        rows += [(op, t(2, 1, *[7] * rank), t(4, 1, *[3] * rank), t(4))]
        rows += [(op, t(2, 6, *[7] * rank), t(9, 2, *[3] * rank), t(9), {"groups": 3})]
        rows += [(op, t(6, *[7] * rank), t(3, 2, *[3] * rank), {"groups": 3})]  # one filter a group
    for rank, op in enumerate((aten.conv1d.padding, aten.conv2d.padding, aten.conv3d.padding), start=1):
        x, w = t(2, 3, *[7] * rank), t(4, 3, *[3] * rank)
        rows += [(op, x, w, t(4), [1] * rank, "same"), (op, x, w), (op, x, t(3, 1, *[3] * rank), {"groups": 3})]
    return rows


def _resizing() -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for rank, pools in enumerate(_POOLS, start=1):
        x = t(2, 3, *[8] * rank)
        rows += [(op, x, [4] * rank) for op in pools]
        rows += [(op, x[0], [4] * rank) for op in pools]
    rows += [(op, t(2, 3, *[8] * rank), [12] * rank, *align) for op, rank, *align in _UPSAMPLES]
    for op in (aten.pad.default, aten.constant_pad_nd.default):
        rows += [(op, t(2, 3, 4), [1, 2]), (op, t(2, 3, 4), [0, 0, 0, 3]), (op, t(2, 3, 4), [0, 0, -1, 2, 0, 0])]
    rows += [(aten.pad.default, t(2, 3, 4), [1, 2], "reflect")]
    window = ([9, 1], [1, 1], [4, 0], [1, 1])
    return [*rows, (aten.im2col.default, t(2, 3, 8, 1), *window), (aten.im2col.default, t(3, 8, 1), *window)]


_POOLS = (
    [
        aten.adaptive_avg_pool1d.default,
        aten.avg_pool1d.default,
        aten.max_pool1d.default,
        aten.adaptive_max_pool1d.default,
    ],
    [aten.adaptive_avg_pool2d.default, aten.avg_pool2d.default, aten.max_pool2d.default],
    [aten.adaptive_avg_pool3d.default, aten.avg_pool3d.default, aten.max_pool3d.default],
)
_UPSAMPLES = (
    (aten.upsample_nearest1d.vec, 1, None),
    (aten.upsample_linear1d.vec, 1, False, None),
    (aten.upsample_nearest2d.vec, 2, None),
    (aten._upsample_nearest_exact2d.vec, 2, None),
    (aten.upsample_bilinear2d.vec, 2, True, None),
    (aten.upsample_bicubic2d.vec, 2, False, None),
    (aten.upsample_nearest3d.vec, 3, None),
    (aten.upsample_trilinear3d.vec, 3, False, None),
)


def _indexing() -> list[tuple[Any, ...]]:
    return [
        *[(aten.gather.default, t(2, 5, 3), dim, ids(n, 2, m, 3)) for dim, n, m in ((1, 5, 4), (-2, 5, 2))],
        (aten.gather.default, t(5, 3), 0, ids(5, 4, 2)),  # the index leaves out a column
        (aten.gather.default, t(4, 5), -1, ids(5, 4, 6)),
        (aten.index.Tensor, t(5, 3), [ids(5, 4)]),
        (aten.index.Tensor, t(5, 3), [ids(5, 4, 2)]),
        (aten.index.Tensor, t(5, 3), [None, ids(3, 4)]),
        (aten.index.Tensor, t(2, 5, 3), [None, ids(5, 4, 2)]),
        (aten.index.Tensor, t(5, 6, 3), [ids(5, 4), ids(6, 4)]),
        (aten.index.Tensor, t(5, 6, 3), [ids(5, 4, 1), ids(6, 2)]),
        (aten.index.Tensor, t(2, 5, 6, 3), [None, ids(5, 4), ids(6, 4)]),
        (aten.index.Tensor, t(5, 2, 6, 3), [ids(5, 4), None, ids(6, 4)]),
        (aten.index.Tensor, t(2, 5, 3, 6), [None, ids(5, 4), None, ids(6, 4)]),
        (aten.index.Tensor, t(5, 3), [ids(5)]),
        *[(aten.index_select.default, t(5, 3), dim, ids(3, 4)) for dim in (0, 1, -1)],
        (aten.index_select.default, t(5, 3), 0, ids(3)),
    ]


def _writing() -> list[tuple[Any, ...]]:
    x, mask = t(4, 6, 3), torch.rand(4, 6) > 0.5
    rows = int(mask.sum())
    return [
        *[
            (op, x, dim, torch.tensor([2, 0, 2][:n]), t(*shape))
            for op in (aten.index_add.default, aten.index_add_.default)
            for dim, n, shape in ((1, 3, (4, 3, 3)), (0, 2, (2, 6, 3)), (-1, 1, (4, 6, 1)))
        ],
        *[(op, x, 1, torch.tensor([2, 0]), t(4, 2, 3)) for op in (aten.index_copy.default, aten.index_copy_.default)],
        (aten.index_add.default, x, 1, torch.tensor(2), t(4, 1, 3)),
        *[(op, x, 1, ids(6, 2), 0.5) for op in (aten.index_fill.int_Scalar, aten.index_fill_.int_Scalar)],
        (aten.index_fill.int_Scalar, x, -1, torch.tensor(1), 2),
        *[
            (op, *args)
            for op in (aten.index_put.default, aten.index_put_.default)
            for args in (
                (x, [torch.tensor([2, 0])], t(2, 6, 3)),
                (x, [torch.tensor([2, 0])], t(6, 3), True),
                (x, [None, torch.tensor([[2, 0], [5, 1]])], t(4, 2, 2, 3)),
                (x, [None, None, torch.tensor([2, 0])], t(1)),
                (x, [torch.tensor([2, 0]), torch.tensor([[1], [5]])], t(2, 2, 3)),
                (x, [torch.tensor([2, 0]), None, torch.tensor([1, 2])], t(2, 6)),
                (x, [mask], t(rows, 3)),
                (x, [mask], t()),
                (x, [None, mask[0]], t(4, int(mask[0].sum()), 3)),
                (t(6, 6, 6), [torch.arange(6)], t(6, 6, 6)),
            )
        ],
        (aten.index.Tensor, x, [mask]),
        (aten.index.Tensor, x, [None, mask[0]]),
        (aten.index.Tensor, t(4, 6, 3, 5), [mask, torch.zeros(rows, dtype=torch.int64)]),
        *[
            (op, x, dim, ids(n, *shape), t(*source))
            for op in (aten.scatter.src, aten.scatter_.src, aten.scatter_add.default, aten.scatter_add_.default)
            for dim, n, shape, source in (
                (1, 6, (4, 1, 3), (4, 1, 3)),
                (1, 6, (4, 1, 2), (4, 1, 2)),
                (-2, 6, (3, 1, 3), (4, 2, 3)),
            )
        ],
        *[(op, x, 1, ids(6, 4, 2, 3), 0.5) for op in (aten.scatter.value, aten.scatter_.value)],
        (aten.scatter.value, t(4, 5), -1, ids(5, 2, 3), 1.0),
        *[
            (op, x, torch.rand(*shape) > 0.5, t(*source))
            for op in (aten.masked_scatter.default, aten.masked_scatter_.default)
            for shape, source in (
                ((4, 6, 1), (24, 3)),
                ((6, 1), (2, 12, 3)),
                ((4, 1, 1), (4, 6, 3)),
                ((4, 6, 3), (24, 3)),
                ((4, 6, 1), (72,)),
                ((4, 6, 1), (18, 4)),
            )
        ],
        *[(aten.select_scatter.default, x, t(*shape), dim, 1) for shape, dim in (((4, 3), 1), ((4, 6), -1))],
        (aten.slice_scatter.default, x, t(4, 2, 3), 1, 2, 4),
        (aten.slice_scatter.default, x, t(4, 3, 3), 1, 0, END, 2),
        (aten.slice_scatter.default, x, t(4, 6, 3), -2, 0, END),
    ]


def _norms() -> list[tuple[Any, ...]]:
    x = t(2, 3, 4)
    image, spread = t(2, 6, 3, 4), (t(6), t(6).abs() + 0.5)
    return [
        *[
            (aten.batch_norm.default, image, *affine, *spread, False, 0.1, 1e-5, False)
            for affine in ((t(6), t(6)), (None,) * 2)
        ],
        (aten.batch_norm.default, image, t(6), t(6), None, None, True, 0.1, 1e-5, False),
        (aten.batch_norm.default, t(5, 6), t(6), None, *spread, False, 0.1, 1e-5, False),
        *[(aten.group_norm.default, image, groups, t(6), t(6)) for groups in (1, 2, 6)],
        (aten.group_norm.default, t(2, 6, 5), 3),
        *[(aten._weight_norm.default, t(4, 3, 5), t(*length), dim) for dim, length in ((0, (4, 1, 1)), (2, (1, 1, 5)))],
        *[(aten.prelu.default, image, t(n)) for n in (1, 6)],
        (aten.layer_norm.default, x, [4], t(4), t(4)),
        (aten.layer_norm.default, x, [4]),
        (aten.layer_norm.default, x, [4], t(4)),
        (aten.layer_norm.default, x, [3, 4], t(3, 4), t(3, 4)),
        (aten.layer_norm.default, x, [2, 3, 4]),
        (aten.rms_norm.default, x, [4], t(4)),
        (aten.rms_norm.default, x, [4], None, 1e-6),
        (aten.rms_norm.default, x, [3, 4], t(3, 4)),
    ]


def _constants() -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for op in (aten.zeros.default, aten.ones.default, aten.empty.memory_format):
        rows += [(op, [2, 3]), (op, [4]), (op, [1, 3]), (op, [])]
    rows += [(aten.full.default, [2, 3], 7.0), (aten.full.default, [1], 7.0)]
    for op in (aten.new_zeros.default, aten.new_ones.default, aten.new_empty.default):
        rows += [(op, t(5), [2, 3]), (op, t(5, 6), [1, 3])]
    return [
        *rows,
        (aten.new_full.default, t(5), [2, 3], 7.0),
        (aten.arange.default, 5),
        (aten.arange.start, 2, 5),
        (aten.arange.start_step, 0, 8, 2),
        (aten.linspace.default, 0, 1, 5),
        (aten.eye.default, 4),
        (aten.tril.default, t(3, 4)),
        (aten.triu.default, t(3, 4)),
    ]


# ---- text rules: tensors whose shapes come from the text


def text_samples(op: OpOverload, rule: Applied, n: int = 4) -> list[Sample]:
    """Return `n` calls of an op with a fixed text: random sizes, ellipses broadcast, optional operands come and go."""
    return [_text_sample(op, rule) for _ in range(n)]


def _text_sample(op: OpOverload, rule: Applied) -> Sample:
    lines = parse(rule.text).operands
    sizes = {
        name: random.randint(2, 4)
        for line in lines
        for dim in line.dims
        if isinstance(dim, Name)
        for name in [dim.name]
    }
    leading = [random.randint(2, 4) for _ in range(random.randint(0 if any(x.dims for x in lines) else 1, 3))]
    arguments: dict[str, Any] = {}
    place = 0
    for argument in op._schema.arguments:
        if "Tensor" in str(argument.type):
            shape = _operand_shape(lines[place], sizes, leading, full=place == 0)
            if argument.has_default_value() and random.random() < 0.5 and op is not aten.clamp.Tensor:
                shape = None
            if shape is not None:
                arguments[argument.name] = _tensor(op, place, shape, sizes)
            place += 1
        elif (value := _value(op, argument, sizes)) is not _DEFAULT:
            arguments[argument.name] = value
    return Sample(op, arguments)


def _operand_shape(line: Operand, sizes: dict[str, int], leading: list[int], full: bool) -> tuple[int, ...]:
    dims = tuple(sizes[dim.name] for dim in line.dims if isinstance(dim, Name))
    if not line.leading:
        return dims
    front = list(leading)
    if not full:  # in-place ops need a first operand of full shape
        front = [size if random.random() < 0.6 else 1 for size in front][random.randint(0, len(front)) :]
    return (*front, *dims)


_BOOL = {"where": {0}, "masked_fill": {1}, "masked_fill_": {1}}
_INTEGER = {"bitwise_not", "bitwise_and", "bitwise_or", "bitwise_xor", "__and__", "__or__"}
_SCALAR_OPERAND = {"masked_fill": {2}, "fill_": {1}}


def _tensor(op: OpOverload, place: int, shape: tuple[int, ...], sizes: dict[str, int]) -> Tensor:
    name = op._schema.name.removeprefix("aten::")
    if place in _SCALAR_OPERAND.get(name, ()):
        return t()
    if place in _BOOL.get(name, ()):
        return t(*shape) > 0
    if name in _INTEGER:
        return ids(16, *shape)
    if name == "embedding" and place == 1:
        return ids(sizes["v"], *shape)
    return t(*shape)


_DEFAULT = object()
_VALUES: dict[str, Callable[[dict[str, int]], Any]] = {
    "to.dtype.dtype": lambda _: torch.float64,
    "to.device.device": lambda _: torch.device("cpu"),
    "to.device.dtype": lambda _: torch.float64,
    "div.Tensor_mode.rounding_mode": lambda _: "floor",
    "dropout.train": lambda _: False,
    "dropout_.train": lambda _: False,
    "__and__.Scalar.other": lambda _: 5,
    "clamp.min": lambda _: -0.5,
    "clamp_.min": lambda _: -0.5,
    "div.Scalar_mode.rounding_mode": lambda _: "trunc",
}


def _value(op: OpOverload, argument: Any, sizes: dict[str, int]) -> Any:
    name = str(op).removeprefix("aten.").removesuffix(".default")
    if (made := _VALUES.get(f"{name}.{argument.name}")) is not None:
        return made(sizes)
    if argument.has_default_value():
        return _DEFAULT
    return {"number": 0.75, "float": 0.5}[str(argument.type)]


__all__ = ["parameters_of", "shape_samples", "t", "text_samples"]
