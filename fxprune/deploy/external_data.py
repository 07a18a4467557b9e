"""Weights that lie beside an ONNX file: only those in its own folder are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fxprune.errors import SourceError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto


def check_external_data(path: Path) -> list[Path]:
    """Return the files an ONNX file keeps its weights in, itself left out; none is opened.

    Raises:
        SourceError: it is no ONNX file, or names a file that is not there or lies outside its folder.
    """
    folder = path.resolve().parent
    found: list[Path] = []
    for tensor in _tensors(_parsed(path)):
        if tensor.data_location != tensor.EXTERNAL:
            continue
        place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        file = (folder / place).resolve()
        if not place or not file.is_relative_to(folder):
            raise SourceError(
                f"{path} is not read",
                cause=f"weights {tensor.name!r} lie at {place!r}, outside its folder",
                remedy="put the file's weights beside it, and save it again",
            )
        if not file.is_file():
            raise SourceError(
                f"the weights of {path} are not there: {place}", remedy="put them beside the file they belong to"
            )
        found.append(file)
    return list(dict.fromkeys(found))


def _parsed(path: Path) -> ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(path, load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise SourceError(f"'{path}' is no ONNX file", cause=str(error)[:200], remedy="export it again") from error


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Yield all tensors, those of nested graphs, functions and attributes too."""
    nodes = [node for function in model.functions for node in function.node]
    graphs: list[GraphProto] = [model.graph]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes += graph.node
        for attribute in nodes.pop().attribute if nodes else ():
            yield from (attribute.t, *attribute.tensors)
            graphs += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
