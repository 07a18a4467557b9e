"""Graphs written as text, and graphs of cut models, run before and after a rewrite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common
import onnxruntime
import pytest

Rewrite = Callable[[ir.Graph], None]
HEADER = '<ir_version: 10, opset_import: ["" : 23]>\n'


class Written:
    """A graph out of its text, with random operands."""

    def __init__(self, text: str, **sizes: int) -> None:
        proto = onnx.parser.parse_model(HEADER + text)
        for weight in [value for value in proto.graph.input if value.name[0] == "w"]:
            shape = [dim.dim_value for dim in weight.type.tensor_type.shape.dim]
            array = np.random.default_rng(len(weight.name)).normal(size=shape).astype(np.float32)
            proto.graph.initializer.append(onnx.numpy_helper.from_array(array, weight.name))
            proto.graph.input.remove(weight)
        proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
        self.model = ir.from_proto(proto)
        self.before = proto
        self.feeds = [self._feed(value, sizes) for value in proto.graph.input]

    def _feed(self, value: Any, sizes: dict[str, int]) -> tuple[str, np.ndarray]:
        kind = value.type.tensor_type
        shape = [sizes[dim.dim_param] if dim.dim_param else dim.dim_value for dim in kind.shape.dim]
        numbers = np.random.default_rng(0).normal(size=shape)
        boolean = kind.elem_type == onnx.TensorProto.BOOL
        return value.name, numbers > -1 if boolean else numbers.astype(
            onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        )

    def after(self, rewrite: Rewrite) -> Counter[str]:
        """Rewrite, prove that nothing changed, and return how many ops of each kind there are."""
        want = self._run(self.before)
        rewrite(self.model.graph)
        common.RemoveUnusedNodesPass()(self.model)
        proto = ir.to_proto(self.model)
        onnx.checker.check_model(proto)
        np.testing.assert_allclose(self._run(proto), want, rtol=1e-5, atol=1e-5)
        return Counter(node.op_type for node in proto.graph.node)

    def _run(self, proto: onnx.ModelProto) -> np.ndarray:
        session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, dict(self.feeds))[0]


@pytest.fixture
def written() -> type[Written]:
    return Written


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lean")
