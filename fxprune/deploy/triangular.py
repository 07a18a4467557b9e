"""Triangular systems in ONNX, which has no op for them."""

from __future__ import annotations

from typing import Any

import numpy as np


def solve_triangular(a: Any, b: Any, upper: bool, left: bool = True, unitriangular: bool = False) -> Any:
    """Translate ``A X = B`` (``X A = B`` unless `left`) for a triangular A of a known size n: inverted by halves.

    ``[[P, 0], [Q, R]]^-1 = [[P^-1, 0], [-R^-1 Q P^-1, R^-1]]``: X starts as the inverse of the diagonal, and for blocks
    of 1, 2, 4, ... below n the halves Q of all pairs of blocks, masked out of A, enter at once: ``X <- X - X Q X``. No
    power of A is taken, which would overflow where many rows are alike.
    """
    from onnxscript import opset18

    op: Any = opset18
    size = a.shape[-1]
    if not isinstance(size, int):
        raise ValueError(f"a triangular system of {size} unknowns: their number must be known")

    def like_a(values: np.ndarray) -> Any:
        return op.CastLike(op.Constant(value=_tensor(values.astype(np.float32))), a)

    inverse = like_a(np.eye(size))
    if not unitriangular:  # rows of the identity, divided by the diagonal
        axis = op.Constant(value_ints=[-1])
        inverse = op.Div(inverse, op.ReduceSum(op.Mul(a, inverse), axis, keepdims=1))
    block = 1
    while block < size:
        halves = op.Mul(a, like_a(_halves(size, block, upper)))
        inverse = op.Sub(inverse, op.MatMul(op.MatMul(inverse, halves), inverse))
        block *= 2
    return op.MatMul(inverse, b) if left else op.MatMul(b, inverse)


def _halves(size: int, block: int, upper: bool) -> np.ndarray:
    """Return (size, size), one where row and column are in the two blocks of a pair, off the diagonal."""
    at = np.arange(size) // block
    row, column = (at[None], at[:, None]) if upper else (at[:, None], at[None])
    return (row % 2 == 1) & (column == row - 1)


def _tensor(values: np.ndarray) -> Any:
    import onnx

    return onnx.numpy_helper.from_array(values)
