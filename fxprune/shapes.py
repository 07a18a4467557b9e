"""Which dimensions of example inputs are free, and the same inputs at another batch and length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.export import Dim
from torch.export.dynamic_shapes import refine_dynamic_shapes_from_suggested_fixes

from fxprune.redrawing import Redraw, is_mask

# per tensor: dimension -> Dim; nested like the kwargs; None where nothing is free
Spec: TypeAlias = dict[int, Any] | dict[str, Any] | list[Any] | tuple[Any, ...] | None
Dims: TypeAlias = dict[str, Spec]

BATCH = "batch"
LENGTH = "length"
DECODER = "decoder_"


def dynamic_shapes(
    example_kwargs: Mapping[str, Any], *, max_batch: int | None = None, max_length: int | None = None
) -> Dims:
    """Name the free dimensions of `example_kwargs`, in the form `torch.export.export` takes.

    Dimension 0 of every tensor that has the common batch size is `batch`. Dimension 1 of 2-D integer tensors is
    `length` (`decoder_length` for names that start with ``decoder_``), and so is every later dimension 1 of that
    size, as in (batch, length, 4) boxes; images are free in the batch only. `torch.export` needs sizes of at least 2
    in the examples, that differ from one another and from the sizes of the model.

    >>> ids = torch.ones(5, 13, dtype=torch.int64)
    >>> spec = dynamic_shapes({"input_ids": ids, "pixel_values": torch.ones(5, 3, 8, 8), "return_dict": True})
    >>> {name: {dim: free.__name__ for dim, free in (dims or {}).items()} for name, dims in spec.items()}
    {'input_ids': {0: 'batch', 1: 'length'}, 'pixel_values': {0: 'batch'}, 'return_dict': {}}
    """
    batch, lengths = batch_size(example_kwargs), _lengths(example_kwargs)

    def dims_of(name: str, tensor: Tensor) -> Spec:
        dims: dict[int, Any] = {}
        if tensor.ndim and tensor.shape[0] == batch:
            dims[0] = Dim(BATCH, max=max_batch)
        if tensor.ndim > 1 and (length := lengths.get((_side(name), tensor.shape[1]))):
            dims[1] = Dim(length, max=max_length)
        return dims or None

    return {
        name: _map(value, lambda tensor, name=name: dims_of(name, tensor)) for name, value in example_kwargs.items()
    }


def relaxed(dims: Dims, replacement: Any) -> Dims:
    """Replace every free dimension but the batch by `replacement`: ``Dim.AUTO``, or None to make it static."""
    return _each(dims, lambda spec: spec if spec is None or _is_batch(spec) else replacement)


def frees_batch(dims: Dims) -> bool:
    """Tell whether any tensor has a free batch dimension.

    >>> frees_batch({"x": {0: Dim("batch")}}), frees_batch({"x": None})
    (True, False)
    """
    return _any(dims, _is_batch)


def frees_length(dims: Dims) -> bool:
    """Tell whether any dimension but the batch is free.

    >>> frees_length({"ids": {0: Dim("batch"), 1: Dim("length")}}), frees_length({"pixels": {0: Dim("batch")}})
    (True, False)
    """
    return _any(dims, lambda spec: spec is not None and not _is_batch(spec))


def refined(dims: Dims, refusal: Exception) -> Dims | None:
    """Return `dims` with the bounds that `torch.export` suggests in its refusal, or None if it suggests none.

    A position table of 512 rows, for example, makes it suggest ``length = Dim('length', max=512)``; a dimension that
    it would rather have as a number, or as a multiple of one (``length = 4*_length``), is free no more.
    """
    text = str(refusal).split("\n\n")[0]  # torch's own parser trips over the traceback that follows
    if "Suggested fixes:" not in text:
        return None
    try:
        found = refine_dynamic_shapes_from_suggested_fixes(text, dims)
    except (ValueError, KeyError, AttributeError, AssertionError):
        return None
    return _each(found, lambda spec: None if isinstance(spec, int) or hasattr(spec, "root") else spec)


def resized(
    example_kwargs: Mapping[str, Any], batch: int, length: int, dynamic_dims: Dims | None = None, seed: int = 0
) -> dict[str, Any]:
    """Return inputs like `example_kwargs` at another batch and length.

    Entries are drawn from the examples (so token ids, boxes and pixels stay in range, see `Redraw`), positions that
    count up go on counting, and masks are ragged: row i hides i positions, at the side where the examples hide some.

    Args:
        example_kwargs: the arguments of the model; whatever is no tensor is passed on.
        batch: size of the `batch` dimension.
        length: size of the `length` dimension; a `decoder_length` keeps its proportion to it.
        dynamic_dims: from `dynamic_shapes`; computed if not given.
        seed: of the draw.
    """
    dims = dynamic_dims if dynamic_dims is not None else dynamic_shapes(example_kwargs)
    old = length_of(example_kwargs) or length
    rows = batch_size(example_kwargs) or 1
    drawn = batch if frees_batch(dims) else rows
    draws = {
        side: Redraw(_texts(example_kwargs, side), rows, drawn, torch.Generator().manual_seed(seed))
        for side in ("", DECODER)
    }

    def resize(name: str, tensor: Tensor, spec: dict[int, Any] | None) -> Tensor:
        free = {axis: dim for axis, dim in (spec or {}).items() if dim is not None}
        sizes = {
            axis: batch if _is_batch(dim) else max(1, round(tensor.shape[axis] * length / old))
            for axis, dim in free.items()
        }
        return draws[_side(name)].of(name, tensor, sizes)

    return {
        name: _map(value, lambda tensor, spec, name=name: resize(name, tensor, spec), dims.get(name))
        for name, value in example_kwargs.items()
    }


def second_shape(example_kwargs: Mapping[str, Any], dynamic_dims: Dims | None = None, seed: int = 1) -> dict[str, Any]:
    """Return ragged inputs at a batch and length that differ from the examples' and lie in the bounds of the Dims."""
    dims = dynamic_dims if dynamic_dims is not None else dynamic_shapes(example_kwargs)
    old = length_of(example_kwargs) or 0
    free = [dim for spec in dims.values() if isinstance(spec, dict) for dim in spec.values()]
    bounds = [dim.max for dim in free if getattr(dim, "max", None) is not None and not _is_batch(dim)]
    longest = min(bounds, default=old + 6)
    length = old + 6 if old + 6 <= longest else max(1, old - 4)
    return resized(example_kwargs, (batch_size(example_kwargs) or 1) + 2, length, dims, seed)


def at_length(example_kwargs: Mapping[str, Any], length: int) -> dict[str, Any]:
    """Return inputs like `example_kwargs` of `length` tokens, if they have any."""
    return resized(example_kwargs, batch_size(example_kwargs) or 1, length)


def length_of(example_kwargs: Mapping[str, Any]) -> int | None:
    """Return the tokens of the examples, or None if they are no texts."""
    return next((size for (_, size), name in _lengths(example_kwargs).items() if name == LENGTH), None)


def batch_size(example_kwargs: Mapping[str, Any]) -> int | None:
    """Return the size of dimension 0 that most tensors share, or None without tensors."""
    sizes = [tensor.shape[0] for _, tensor in tensors(example_kwargs) if tensor.ndim]
    return max(sizes, key=sizes.count) if sizes else None


def tensors(example_kwargs: Mapping[str, Any]) -> list[tuple[str, Tensor]]:
    """List every tensor in the arguments, nested ones included, under the name of its argument."""
    found: list[tuple[str, Tensor]] = []
    for name, value in example_kwargs.items():
        _map(value, lambda tensor, name=name: found.append((name, tensor)))
    return found


def _each(dims: Any, function: Callable[[Any], Any]) -> Any:
    """Return `dims` with every single dimension replaced by what `function` makes of it."""
    if isinstance(dims, Mapping):
        return {key: _each(value, function) for key, value in dims.items()}
    if isinstance(dims, list | tuple):
        return type(dims)(_each(value, function) for value in dims)
    return function(dims)


def _any(dims: Any, test: Callable[[Any], bool]) -> bool:
    if isinstance(dims, Mapping | list | tuple):
        return any(_any(spec, test) for spec in (dims.values() if isinstance(dims, Mapping) else dims))
    return test(dims)


def _lengths(example_kwargs: Mapping[str, Any]) -> dict[tuple[str, int], str]:
    """Return (side, size) -> name of the length, one for each size of dimension 1 of a 2-D integer tensor."""
    names: dict[tuple[str, int], str] = {}
    for name, tensor in tensors(example_kwargs):
        if not is_text(tensor):
            continue
        side, size = _side(name), tensor.shape[1]
        first = all(other != side for other, _ in names)
        names.setdefault((side, size), f"{side}{LENGTH}" if first else f"{name}_{LENGTH}")
    return names


def _texts(example_kwargs: Mapping[str, Any], side: str) -> dict[int, list[tuple[str, Tensor]]]:
    """Return what is drawn by columns on one side of the model, by length."""
    found: dict[int, list[tuple[str, Tensor]]] = {}
    for name, tensor in tensors(example_kwargs):
        if is_text(tensor) and _side(name) == side and not is_mask(name, tensor):
            found.setdefault(tensor.shape[1], []).append((name, tensor))
    return found


def is_text(tensor: Tensor) -> bool:
    """Tell whether a tensor is 2-D and of integers."""
    return tensor.ndim == 2 and not tensor.is_floating_point() and tensor.dtype != torch.bool


def _is_batch(dim: Any) -> bool:
    return getattr(dim, "__name__", None) == BATCH


def _side(name: str) -> str:
    return DECODER if name.startswith(DECODER) else ""


def _map(value: Any, function: Callable[..., Any], *specs: Any) -> Any:
    """Apply `function` to the tensors in nested lists, tuples and dicts, beside the spec of the same place."""
    if isinstance(value, Tensor):
        return function(value, *specs)
    if isinstance(value, Mapping):
        return {key: _map(item, function, *(spec and spec[key] for spec in specs)) for key, item in value.items()}
    if isinstance(value, list | tuple) and value:
        return type(value)(
            _map(item, function, *(spec and spec[place] for spec in specs)) for place, item in enumerate(value)
        )
    return value if specs else None
