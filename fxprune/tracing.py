"""Capture: any traceable model becomes one ATen graph with free batch and sequence sizes."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule
from torch.utils._pytree import tree_map_only

from fxprune.baked import is_baked, is_bound
from fxprune.eager import computed_as_called
from fxprune.errors import CaptureError, unknown_name
from fxprune.plain import plain
from fxprune.positions import named_positions, position_rows
from fxprune.quiet import quiet
from fxprune.refusals import Outcome, refusal, register_dataclasses
from fxprune.shapes import (
    Dims,
    at_length,
    batch_size,
    dynamic_shapes,
    frees_batch,
    frees_length,
    is_text,
    refined,
    relaxed,
    resized,
)
from fxprune.traced import FIXED, Provenance, Traced, input_names


def capture(
    model: nn.Module, example_kwargs: Mapping[str, Any], length: int | None = None, *, free: bool = True
) -> Traced:
    """Capture `model` as a graph that is called like it and returns the same structure.

    Args:
        model: any module `torch.export` can trace; it is copied, never changed.
        example_kwargs: keyword arguments of its forward; dimension 0 of every tensor is the batch, dimension 1 of
            2-D integer tensors the sequence, and both stay free.
        length: of the sequence where it cannot stay free, as in a loop over positions; default: that of the examples.
        free: whether to try to leave the sequence free.
    Returns:
        A graph in evaluation mode with the values and names of the model's own parameters, tied ones tied.
    Raises:
        CaptureError: the model cannot be traced; the error names the module and the source line that stopped it.
    """
    with torch.no_grad():
        owned = _private_copy(model)
        kwargs = traceable(example_kwargs)
        _check_arguments(owned, kwargs)
        with quiet(), computed_as_called(owned):
            program, rung, dims = _exported(owned, kwargs, length, free)
            if batch_size(example_kwargs) == 1 and not frees_batch(dims):  # the row was repeated to no purpose
                program, rung, dims = _exported(owned, _copied(example_kwargs), length, free)
            return plain(program.module(check_guards=False), owned, Provenance(rung=rung, dynamic=dims))


def traceable(example_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return contiguous copies of the examples, with batch and length of at least two: a size of one would be baked in.

    A row is repeated, and so is the only position of 2-D integer tensors.
    """
    kwargs = _copied(example_kwargs)
    if batch_size(kwargs) == 1:
        kwargs = tree_map_only(
            Tensor, lambda t: t.repeat(3, *[1] * (t.ndim - 1)) if t.ndim and t.shape[0] == 1 else t, kwargs
        )
    return tree_map_only(Tensor, lambda t: t.repeat(1, 4) if _is_one_position(t) else t, kwargs)


def _copied(example_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return tree_map_only(
        Tensor, lambda tensor: tensor.detach().clone(memory_format=torch.contiguous_format), dict(example_kwargs)
    )


def _is_one_position(tensor: Tensor) -> bool:
    return is_text(tensor) and tensor.shape[1] == 1


def runnable(traced: GraphModule, example_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return copies of the examples as a captured graph takes them: as they are, if its batch is fixed."""
    provenance = traced.meta.get("provenance")
    if provenance is not None and provenance.dynamic and not frees_batch(provenance.dynamic):
        return tree_map_only(Tensor, torch.Tensor.clone, dict(example_kwargs))
    return traceable(example_kwargs)


def _private_copy(model: nn.Module) -> nn.Module:
    try:
        owned = copy.deepcopy(model).eval()
    except Exception as error:
        raise CaptureError(
            f"{type(model).__name__} cannot be copied, and capture leaves the model itself alone",
            cause=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            remedy="make tensors that are computed from parameters inside forward, or remove such parametrizations",
        ) from error
    for module in owned.modules():
        config = getattr(module, "config", None)
        if config is not None and hasattr(config, "use_cache"):
            config.use_cache = False  # a cache is an output no rule can follow
    return owned


def _check_arguments(model: nn.Module, kwargs: Mapping[str, Any]) -> None:
    signature = inspect.signature(model.forward)
    try:
        bound = signature.bind(**kwargs)
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD and name in bound.arguments:
                raise TypeError(f"got an unexpected keyword argument {next(iter(bound.arguments[name]))!r}")
    except TypeError as error:
        raise CaptureError(
            f"the example inputs do not fit {type(model).__name__}.forward",
            cause=error,
            remedy=f"pass keyword arguments of forward{signature}"[:300],
        ) from error


def check_names(traced: Traced, kwargs: Mapping[str, Any]) -> None:
    """Raise CaptureError unless `kwargs` are the inputs of a captured graph."""
    known = input_names(traced)
    if missing := [name for name in known if name not in kwargs]:
        raise CaptureError(f"the example inputs lack {missing[0]!r}", remedy=f"pass {', '.join(known)}")
    if strange := [name for name in kwargs if name not in known]:
        raise CaptureError(unknown_name("input", strange[0], known))


class _RefusedError(Exception):
    """No rung held; the argument is what each one raised."""


def _exported(
    model: nn.Module, kwargs: dict[str, Any], length: int | None, free: bool
) -> tuple[ExportedProgram, str, Dims]:
    """Climb, and once more if the output holds dataclasses that `torch.export` did not know."""
    for last in (False, True):
        try:
            return _climb(model, kwargs, length, free)
        except _RefusedError as refused:
            (failures,) = refused.args
            outcome = Outcome(model, kwargs)
            if last or not register_dataclasses(outcome):
                raise refusal(model, failures, outcome) from failures[0]
    raise AssertionError("one of the two returns or raises")


def _climb(
    model: nn.Module, kwargs: dict[str, Any], length: int | None, free: bool
) -> tuple[ExportedProgram, str, Dims]:
    """Try from the freest sizes to fixed ones; report the rung that held."""
    if free and (found := _foreseen(model, kwargs)):
        return found
    named = dynamic_shapes(kwargs)
    rungs: list[tuple[str, Dims, bool]] = [
        ("named", named, False),
        ("named, deferred checks", named, True),
        ("automatic", relaxed(named, Dim.AUTO), True),
        (FIXED, relaxed(named, None), False),
    ]
    rungs = rungs if free else rungs[-1:]
    failures: list[Exception] = []
    while rungs:
        name, dims, deferred = rungs.pop(0)
        if not rungs:
            kwargs = at_fixed_length(model, kwargs, length)
        for _ in range(3):  # a refusal may suggest bounds, such as the rows of a position table
            try:
                program = _export(model, kwargs, dims, deferred)
                if not is_baked(program, kwargs, dims) and not (deferred and is_bound(model, program, kwargs, dims)):
                    return program, name, dims
                bounded: Dims | None = relaxed(named, None)
            except Exception as error:
                failures.append(error)
                bounded = refined(dims, error)
            if bounded is not None and frees_length(dims) and not frees_length(bounded):
                rungs = rungs[-1:]  # the length is in the steps themselves: no freer size will help
                break
            if bounded is None or bounded == dims:
                break
            dims = bounded
    raise _RefusedError(failures)


def at_fixed_length(model: nn.Module, kwargs: Mapping[str, Any], length: int | None) -> dict[str, Any]:
    """Return the examples a graph of fixed length has: of `length` tokens, or as many as the model takes."""
    longest = position_rows(model) or named_positions(getattr(model, "config", None))
    return dict(kwargs) if length is None else at_length(kwargs, min(length, longest or length))


def _foreseen(model: nn.Module, kwargs: dict[str, Any]) -> tuple[ExportedProgram, str, Dims] | None:
    """Try the bound that a position table will make `torch.export` ask for: it spares half of the work."""
    rows = position_rows(model)
    if rows is None:
        return None
    dims = dynamic_shapes(kwargs, max_length=rows)
    try:
        program = _export(model, kwargs, dims, deferred=False)
    except Exception:
        return None  # the first rung will say why
    return None if is_baked(program, kwargs, dims) else (program, "named", dims)


def _export(model: nn.Module, kwargs: dict[str, Any], dims: Dims, deferred: bool) -> ExportedProgram:
    program = torch.export.export(
        model, (), kwargs, strict=False, dynamic_shapes=dims, prefer_deferred_runtime_asserts_over_guards=deferred
    )
    return program.run_decompositions({}) if _maps(program) else program


def _maps(program: ExportedProgram) -> bool:
    """Tell whether a graph holds steps of `torch.vmap`, as masks of custom patterns do, rather than batched ops."""
    return any(
        str(getattr(node.target, "__module__", "")).startswith("torch._functorch") for node in program.graph.nodes
    )


__all__ = ["at_fixed_length", "capture", "plain", "resized", "runnable", "traceable"]
