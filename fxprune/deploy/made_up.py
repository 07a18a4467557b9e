"""Inputs for an ONNX file nobody has examples of: from the types and sizes it declares itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fxprune.errors import SourceError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_KINDS = {
    "tensor(int64)": torch.int64,
    "tensor(int32)": torch.int32,
    "tensor(bool)": torch.bool,
    "tensor(uint8)": torch.uint8,
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
}
_FEW = 2  # ids nobody says a bound of: every vocabulary has 0 and 1


def has_length(session: InferenceSession) -> bool:
    """Tell whether an input has a free size besides the batch."""
    return any(
        not isinstance(size, int) and not _is_batch(size, place) and not _is_past(size)
        for value in session.get_inputs()
        for place, size in enumerate(value.shape)
    )


def made_up(
    session: InferenceSession, rows: Mapping[str, int], batch: int, length: int | None, *, ragged: bool = False
) -> dict[str, Tensor]:
    """Make inputs of a shape.

    A free size is the batch if its name says so or if it is a nameless first one; nothing if its name says "past"; a
    sum of names is their sum; every other one is the length. Masks are ones, positions count up, kinds of tokens are
    zeros, other integers are ids below the number of rows they pick from, and floats are noise.

    Args:
        session: what is fed.
        rows: input -> how many ids it may take, as `read_facts` finds.
        batch, length: of the shape; a length of None counts as 1.
        ragged: whether row i of a mask hides its last i positions.
    Raises:
        SourceError: an input is of a kind that cannot be made up.
    """
    generator = torch.Generator().manual_seed(0)
    found = {}
    for value in session.get_inputs():
        if value.type not in _KINDS:
            raise SourceError(
                f"the input {value.name!r} is of an unknown kind, {value.type}", remedy="name a model folder"
            )
        shape = [_size(size, place, batch, length or 1) for place, size in enumerate(value.shape)]
        found[value.name] = _filled(value, shape, rows.get(value.name, _FEW), ragged, generator)
    return found


def _filled(value: Any, shape: list[int], rows: int, ragged: bool, generator: torch.Generator) -> Tensor:
    kind, name = _KINDS[value.type], value.name.lower()
    if kind.is_floating_point:
        return torch.randn(shape, generator=generator).to(kind)
    if "mask" in name:
        return _mask(shape, ragged).to(kind)
    if "type" in name or kind == torch.bool:
        return torch.zeros(shape, dtype=kind)
    if "position" in name and shape:
        return torch.arange(shape[-1]).expand(shape).to(kind).contiguous()
    return torch.randint(rows, shape, generator=generator).to(kind)


def _mask(shape: list[int], ragged: bool) -> Tensor:
    if not ragged or len(shape) != 2:
        return torch.ones(shape)
    hidden = torch.arange(shape[0])[:, None] % shape[1]
    return (torch.arange(shape[1])[None] < shape[1] - hidden).long()


def _size(size: Any, place: int, batch: int, length: int) -> int:
    if isinstance(size, int):
        return size
    terms = re.split(r"\s*\+\s*", str(size)) if isinstance(size, str) else [size]
    return sum(_term(term, place, batch, length) for term in terms)


def _term(term: Any, place: int, batch: int, length: int) -> int:
    if isinstance(term, str) and term.isdecimal():
        return int(term)
    if _is_batch(term, place):
        return batch
    return 0 if _is_past(term) else length


def _is_batch(size: Any, place: int) -> bool:
    name = size.lower() if isinstance(size, str) else ""
    return "batch" in name or (place == 0 and not re.search(r"len|seq|past|tokens", name))


def _is_past(size: Any) -> bool:
    return isinstance(size, str) and "past" in size.lower() and "+" not in size
