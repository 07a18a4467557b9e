"""Exported programs as captured models: `.pt2` files need nothing of the code they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import SymInt, Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from fxprune.errors import CaptureError, UsageError
from fxprune.plain import plain
from fxprune.shapes import BATCH, LENGTH, Dims
from fxprune.traced import Provenance, Traced, example_tensors, input_names


def capture_program(program: ExportedProgram) -> Traced:
    """Return an exported program as a captured model, called with the names of its inputs; tied weights are tied.

    Args:
        program: of any device and of free or fixed sizes; its tensors are shared, not copied.
    Raises:
        CaptureError: a part of it runs under autocast, or an input has no name.
    """
    module = tied(program.module(check_guards=False))
    _check_named(module)
    for name in program.graph_signature.non_persistent_buffers:
        owner, _, leaf = name.rpartition(".")
        module.get_submodule(owner)._non_persistent_buffers_set.add(leaf)
    traced = plain(module, module, Provenance(rung="exported program"))
    traced.meta["provenance"] = replace(traced.provenance, dynamic=_dims(program, traced))
    return traced.eval()


def examples_of(program: ExportedProgram) -> dict[str, Any]:
    """Return the inputs a program was exported with, by name.

    Raises:
        UsageError: it holds none.
    """
    if program.example_inputs is None:
        raise UsageError("the program holds no example inputs", remedy="pass example_kwargs, as its forward takes them")
    args, kwargs = program.example_inputs
    names = input_names(program.module(check_guards=False))
    return {**dict(zip(names, args, strict=False)), **kwargs}


def tied(module: GraphModule) -> GraphModule:
    """Make parameters on the same memory one object again: loading makes one for each name."""
    seen: dict[tuple[object, ...], nn.Parameter] = {}
    for owner in module.modules():
        for name, parameter in owner._parameters.items():
            if parameter is not None and parameter.data_ptr():  # zero: empty, or on the meta device
                key = (parameter.data_ptr(), parameter.shape, parameter.stride(), parameter.dtype)
                owner._parameters[name] = seen.setdefault(key, parameter)
    return module


def _info(module: GraphModule) -> Any:
    return module.graph._codegen.pytree_info  # type: ignore[attr-defined]


def _check_named(module: GraphModule) -> None:
    names = input_names(module)
    if len(set(names)) < len(names) or any(not str(name).isidentifier() for name in names):
        raise CaptureError(
            "the inputs of the program have no names", remedy="export the module with keyword arguments: kwargs={...}"
        )


def _dims(program: ExportedProgram, traced: Traced) -> Dims:
    """Return which sizes of the inputs are free, and within which bounds."""
    names: dict[str, str] = {}
    leaves = iter(example_tensors(traced))
    args, kwargs = _info(traced).in_spec.children()
    bounds = {str(symbol): (bound.lower, bound.upper) for symbol, bound in program.range_constraints.items()}
    found: list[Any] = []
    for _ in range(args.num_leaves + kwargs.num_leaves):
        found.append(_dims_of(next(leaves, None), names, bounds))
    positional = args.unflatten(found[: args.num_leaves])
    by_name = kwargs.unflatten(found[args.num_leaves :])
    return {**dict(zip(input_names(traced), positional, strict=False)), **by_name}


def _dims_of(value: object, names: dict[str, str], bounds: Mapping[str, tuple[Any, Any]]) -> dict[int, Any] | None:
    """Name the free dimensions of one input: the first is the batch, the second of the first tensor the length."""
    if not isinstance(value, Tensor):
        return None
    free: dict[int, Any] = {}
    for dim, size in enumerate(value.shape):
        if isinstance(size, SymInt):
            symbol = str(size.node.expr)
            if not symbol.isidentifier():
                free[dim] = Dim.AUTO
                continue
            usual = {0: BATCH, 1: LENGTH}.get(dim, f"size_{symbol}")
            taken = set(names.values())
            names.setdefault(symbol, usual if usual not in taken else f"size_{symbol}")
            free[dim] = _dim(names[symbol], bounds.get(symbol))
    return free or None


def _dim(name: str, bound: tuple[Any, Any] | None) -> Any:
    low, high = (_whole(value) for value in bound or (None, None))
    return Dim(name, min=low if low and low > 2 else None, max=high)


def _whole(value: Any) -> int | None:
    """Return a bound as a number; an infinite one is none."""
    try:
        return int(value) if int(value) < torch.iinfo(torch.int32).max else None
    except (TypeError, ValueError, OverflowError, AttributeError):
        return None
