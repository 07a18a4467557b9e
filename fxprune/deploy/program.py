"""From a module back to an exported program, which is what the ONNX exporter and `.pt2` files take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from fxprune.errors import DeployError
from fxprune.quiet import quiet
from fxprune.shapes import Dims, dynamic_shapes, refined, relaxed
from fxprune.traced import input_names
from fxprune.tracing import capture, runnable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A program, the graph it is of, and the inputs it was made with."""

    program: ExportedProgram
    graph: GraphModule
    kwargs: dict[str, Any]
    dims: Dims


def export_program(module: nn.Module, example_kwargs: Mapping[str, Any]) -> Exported:
    """Export a captured graph (any other module is captured first) with free batch and length.

    Args:
        module: in evaluation mode, on the CPU.
        example_kwargs: arguments of its forward.
    Raises:
        CaptureError: the module cannot be captured.
        DeployError: the graph cannot be exported, or lies on another device.
    """
    graph = module if isinstance(module, GraphModule) else capture(module, example_kwargs)
    if away := {tensor.device.type for tensor in graph.parameters()} - {"cpu"}:
        raise DeployError(f"the model lies on {', '.join(sorted(away))}", remedy="move it to the CPU before the export")
    kwargs = _in_order(graph, runnable(graph, example_kwargs))
    dims = _free(graph, kwargs)
    failures: list[Exception] = []
    for attempt, deferred in (
        (dims, False),
        (dims, True),
        (relaxed(dims, Dim.AUTO), True),
        (relaxed(dims, None), False),
    ):
        program = _export(graph, kwargs, attempt, failures, deferred=deferred)
        if program is not None:
            return Exported(program=program, graph=graph, kwargs=kwargs, dims=attempt)
    raise DeployError(
        "the graph cannot be exported again", cause=f"{type(failures[0]).__name__}: {first_line(failures[0])}"
    ) from failures[0]


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, at most 200 characters."""
    return next((line.strip()[:200] for line in str(error).splitlines() if line.strip()), type(error).__name__)


def innermost(error: BaseException) -> BaseException:
    """Return what an error was raised from, first of all: wrappers say what to do next, not what happened."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _export(
    graph: GraphModule, kwargs: dict[str, Any], dims: Dims, failures: list[Exception], *, deferred: bool
) -> ExportedProgram | None:
    """Export once, and once more if the refusal suggests bounds."""
    attempt: Dims | None = dims
    for _ in range(2):
        if attempt is None:
            break
        try:
            with torch.no_grad(), quiet():
                return torch.export.export(
                    graph,
                    (),
                    kwargs,
                    strict=False,
                    dynamic_shapes=attempt,
                    prefer_deferred_runtime_asserts_over_guards=deferred,
                )
        except Exception as error:  # torch raises UserError, AssertionError, RuntimeError and more
            failures.append(error)
            attempt = refined(attempt, error)
    return None


def _in_order(graph: GraphModule, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Put the arguments in the order of the graph's inputs, and refuse others."""
    order = {name: place for place, name in enumerate(input_names(graph))}
    return dict(sorted(kwargs.items(), key=lambda item: order.get(item[0], len(order))))


def _free(graph: GraphModule, kwargs: dict[str, Any]) -> Dims:
    """Return what the capture found to be free, else what the examples suggest."""
    provenance = graph.meta.get("provenance")
    found = dict(provenance.dynamic) if provenance is not None else {}
    return {name: found[name] for name in kwargs} if found.keys() == kwargs.keys() else dynamic_shapes(kwargs)
