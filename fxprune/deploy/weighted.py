"""The nodes of an ONNX graph that hold most weights: matrix products, and tables rows are picked from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fxprune.deploy.gelus import by_tanh
from fxprune.deploy.residuals import biases_beside_products
from fxprune.errors import DeployError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

PRODUCTS, TABLES = ("MatMul", "Gemm"), ("Gather",)
_MADE = ("_quantized", "_scale", "_zero_point")  # endings of the names a quantiser makes


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A file whose products and tables have weights of their own.

    Attributes:
        path: of the file.
        products: names of the nodes that multiply with a weight.
        tables: names of the nodes that pick rows of one that no product has.
        tied: name of a table that a product has too -> name of the product's copy.
        others: names of all other nodes of the same ops.
        gelus: how many GELUs are computed by tanh, see `gelus`.
    """

    path: Path
    products: tuple[str, ...]
    tables: tuple[str, ...]
    tied: Mapping[str, str]
    others: tuple[str, ...]
    gelus: int


def prepared(source: Path, path: Path) -> Ready:
    """Write a copy of `source` that a quantiser understands: named nodes, and weights that are not shared across uses.

    A table tied to the output is stored once, and transposed in the graph; a quantiser wants a copy for each use (which
    `tied_tables` makes one of again).

    Raises:
        DeployError: the model multiplies with no weight.
    """
    import onnx

    model = onnx.load(source)
    _name_nodes(model.graph)
    copies = {**_unfold_transposes(model.graph), **_separate(model.graph)}
    _forget_shapes(model.graph)
    products = _products(model)
    biases_beside_products(model.graph, products)
    gelus = by_tanh(model.graph)
    if not products:
        raise DeployError(
            "the model has no matrix product with a weight, so int8 has nothing to do", remedy="keep the float32 file"
        )
    weights = _weights(model.graph)
    picking = [node for node in model.graph.node if node.op_type in TABLES and node.input[0] in weights]
    multiplied = {node.input[1] for node in model.graph.node if node.name in products}
    by_row = {node.input[0] for node in picking if picks_rows(node)}
    tied = {table: copy for copy, table in copies.items() if copy in multiplied and table in by_row}
    tables = [node.name for node in picking if not (picks_rows(node) and node.input[0] in tied)]
    onnx.save(model, path, save_as_external_data=model.ByteSize() > 2 * 10**9, location=f"{path.name}.data")
    same = [node.name for node in model.graph.node if node.op_type in PRODUCTS + TABLES]
    others = tuple(name for name in same if name not in {*products, *tables})
    return Ready(path=path, products=tuple(products), tables=tuple(tables), tied=tied, others=others, gelus=gelus)


def products_of(path: Path) -> list[str]:
    """Return the nodes of a file that multiply with a float weight."""
    import onnx

    return _products(onnx.load(path, load_external_data=False))


def picks_rows(node: NodeProto) -> bool:
    """Whether a node picks along the first axis."""
    return node.op_type in TABLES and all(one.i == 0 for one in node.attribute if one.name == "axis")


def rename_quantised(path: Path) -> None:
    """Give what a quantiser made of tables names that its next step does not make again."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        tensor.name = _of_table(tensor.name)
    for node in model.graph.node:
        node.input[:] = [_of_table(name) for name in node.input]
        node.output[:] = [_of_table(name) for name in node.output]
    onnx.save(model, path)


def _of_table(name: str) -> str:
    return f"{name}_of_table" if name.endswith(_MADE) else name


def _products(model: ModelProto) -> list[str]:
    weights = _weights(model.graph)
    return [node.name for node in model.graph.node if node.op_type in PRODUCTS and node.input[1] in weights]


def _weights(graph: GraphProto) -> dict[str, TensorProto]:
    """Return the float matrices of the graph."""
    from onnx import TensorProto as Types

    return {one.name: one for one in graph.initializer if one.data_type == Types.FLOAT and len(one.dims) == 2}


def _name_nodes(graph: GraphProto) -> None:
    seen: Counter[str] = Counter()
    for place, node in enumerate(graph.node):
        seen[node.name] += 1
        if not node.name or seen[node.name] > 1:
            node.name = f"{node.name or node.op_type}_{place}_"


def _unfold_transposes(graph: GraphProto) -> dict[str, str]:
    """Replace the transpose of a weight by a weight; return the weight each was made of."""
    import numpy as np
    from onnx import numpy_helper

    weights, outputs = _weights(graph), {value.name for value in graph.output}
    made: dict[str, str] = {}
    for node in list(graph.node):
        if node.op_type == "Transpose" and node.input[0] in weights and node.output[0] not in outputs:
            turned = np.ascontiguousarray(numpy_helper.to_array(weights[node.input[0]]).T)
            graph.initializer.append(numpy_helper.from_array(turned, node.output[0]))
            graph.node.remove(node)
            made[node.output[0]] = node.input[0]
    used = {name for node in graph.node for name in node.input} | outputs
    for weight in weights.values():
        if weight.name not in used:
            graph.initializer.remove(weight)
    return made


def _separate(graph: GraphProto) -> dict[str, str]:
    """Give products their own copy of a weight that something else reads too; return the weight each is a copy of."""
    weights = _weights(graph)
    other = {name for node in graph.node if not _multiplies(node) for name in node.input}
    copies: dict[str, str] = {}
    for node in graph.node:
        if _multiplies(node) and (name := node.input[1]) in weights and name in other:
            if name not in copies:
                copies[name] = f"{name}_of_product"
                copy = graph.initializer.add()
                copy.CopyFrom(weights[name])
                copy.name = copies[name]
            node.input[1] = copies[name]
    return {copy: name for name, copy in copies.items()}


def _forget_shapes(graph: GraphProto) -> None:
    """Drop shapes said of weights: a quantiser turns those of Gemm over, and then finds that the shapes differ."""
    held = {one.name for one in graph.initializer}
    for value in [value for value in graph.value_info if value.name in held]:
        graph.value_info.remove(value)


def _multiplies(node: NodeProto) -> bool:
    return node.op_type in PRODUCTS
