"""A BERT encoder written by hand in ONNX Runtime's own fused ops, as its makers would: 91 nodes for 12 layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

MICROSOFT = "com.microsoft"
INPUTS, OUTPUT = ("input_ids", "attention_mask"), "last_hidden_state"


class HandGraph:
    """Collects nodes and weights; every method that adds a node returns the name of its output."""

    def __init__(self, weights: Mapping[str, Tensor], heads: int, epsilon: float) -> None:
        self.weights = {name: weight.detach().numpy() for name, weight in weights.items()}
        self.heads, self.epsilon = heads, epsilon
        self.nodes: list[onnx.NodeProto] = []
        self.stored: dict[str, np.ndarray] = {}

    def add(self, op: str, inputs: Sequence[str], output: str = "", *, domain: str = "", **attributes: Any) -> str:
        output = output or f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], domain=domain, **attributes))
        return output

    def constant(self, name: str, array: np.ndarray) -> str:
        self.stored[name] = np.ascontiguousarray(array)
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name])

    def transposed(self, name: str) -> str:
        return self.constant(name, self.weights[name].T)

    def embedding(self) -> str:
        tables = "embeddings.{}_embeddings.weight"
        position = self.weights[tables.format("position")] + self.weights[tables.format("token_type")][0]
        words = self.add("Gather", [self.weight(tables.format("word")), "input_ids"])
        length = self.add("Shape", ["input_ids"], start=1, end=2)
        first = self.constant("first", np.array([0]))
        rows = self.add("Slice", [self.constant("positions", position), first, length])
        norm = [self.weight(f"embeddings.LayerNorm.{part}") for part in ("weight", "bias")]
        return self.add("LayerNormalization", [self.add("Add", [words, rows]), *norm], epsilon=self.epsilon)

    def layer(self, hidden: str, mask: str, place: int, output: str = "") -> str:
        """One block: attention with packed weights, twice a product with a fused sum and norm, a fused GELU."""
        prefix = f"encoder.layer.{place}."
        parts = [f"{prefix}attention.self.{part}" for part in ("query", "key", "value")]
        packed = np.concatenate([self.weights[f"{part}.weight"].T for part in parts], axis=1)
        bias = np.concatenate([self.weights[f"{part}.bias"] for part in parts])
        operands = [hidden, self.constant(f"{prefix}qkv", packed), self.constant(f"{prefix}qkv.bias", bias), mask]
        mixed = self.add("Attention", operands, domain=MICROSOFT, num_heads=self.heads)
        attended = self.normed(mixed, hidden, f"{prefix}attention.output")
        wide = self.add("MatMul", [attended, self.transposed(f"{prefix}intermediate.dense.weight")])
        active = self.add("BiasGelu", [wide, self.weight(f"{prefix}intermediate.dense.bias")], domain=MICROSOFT)
        return self.normed(active, attended, f"{prefix}output", output)

    def normed(self, x: str, residual: str, name: str, output: str = "") -> str:
        product = self.add("MatMul", [x, self.transposed(f"{name}.dense.weight")])
        norm = [self.weight(f"{name}.LayerNorm.{part}") for part in ("weight", "bias")]
        operands = [product, residual, *norm, self.weight(f"{name}.dense.bias")]
        return self.add("SkipLayerNormalization", operands, output, domain=MICROSOFT, epsilon=self.epsilon)

    def model(self, width: int) -> onnx.ModelProto:
        axes = ["batch", "length"]
        inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, axes) for name in INPUTS]
        outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [*axes, width])]
        weights = [numpy_helper.from_array(array, name) for name, array in self.stored.items()]
        graph = helper.make_graph(self.nodes, "hand-fused", inputs, outputs, weights)
        opsets = [helper.make_opsetid("", 23), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def write_hand_graph(weights: Mapping[str, Tensor], heads: int, layers: int, epsilon: float, path: Path) -> int:
    """Write a BERT encoder with these weights; return the number of its nodes."""
    graph = HandGraph(weights, heads, epsilon)
    mask = graph.add("Cast", ["attention_mask"], to=TensorProto.INT32)
    hidden = graph.embedding()
    for place in range(layers):
        hidden = graph.layer(hidden, mask, place, OUTPUT if place == layers - 1 else "")
    width = graph.stored["embeddings.LayerNorm.bias"].shape[0]
    onnx.save(graph.model(width), path)
    return len(graph.nodes)
