"""A file filled in from a template is the file an export would have made, but for its weights."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
from models import inputs_of, model_of, traced_of
from timing import space_of

import fxprune
from fxprune.deploy.int8 import export_int8
from fxprune.deploy.ort import open_session, run
from fxprune.errors import DeployError
from fxprune.groups import byproducts
from fxprune.latency.files import Files, telling_pair
from fxprune.latency.holes import Hole, HoleFinder
from fxprune.latency.template import Template


def sizes_of(path: Path) -> list[object]:
    """Return op types with the shapes of their weights, and the integers among these."""
    model = onnx.load(path)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    found: list[object] = []
    for node in model.graph.node:
        read = [weights[name] for name in node.input if name in weights]
        numbers = [
            onnx.numpy_helper.to_array(t).tolist() if t.data_type == onnx.TensorProto.INT64 else None for t in read
        ]
        found.append((node.op_type, [list(t.dims) for t in read], numbers))
    return found


def files_of(name: str) -> Files:
    traced = fxprune.capture(copy.deepcopy(model_of(name)).float(), inputs_of(name))
    return Files(traced, space_of(name), byproducts(traced))


@pytest.mark.parametrize(
    "name", ["bert", pytest.param("llama_gqa", marks=pytest.mark.slow), pytest.param("t5", marks=pytest.mark.slow)]
)
def test_a_filled_in_file_has_the_shapes_of_an_exported_one_and_runs(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(name)
    monkeypatch.setattr("fxprune.latency.files._MIDDLES", (0.7,))  # narrower, the exporter folds a table into another
    widths = files.space.draw(4)[3]
    files.write(widths, tmp_path / "filled.onnx")
    assert files.by_template
    files.export(widths, tmp_path / "exported.onnx")
    assert sizes_of(tmp_path / "filled.onnx") == sizes_of(tmp_path / "exported.onnx")
    inputs = inputs_of(name, 2, 9)
    got = run(open_session(tmp_path / "filled.onnx", 1), inputs)
    want = run(open_session(tmp_path / "exported.onnx", 1), inputs)
    assert {key: value.shape for key, value in got.items()} == {key: value.shape for key, value in want.items()}


@pytest.mark.slow
def test_an_int8_file_is_filled_in_too_and_is_what_an_int8_export_writes(tmp_path: Path) -> None:
    files = files_of("bert")
    files.precision = "int8"
    widths = files.space.draw(4)[3]
    files.write(widths, tmp_path / "filled.onnx")
    assert files.by_template
    files.precision = "float32"
    files.export(widths, tmp_path / "float32.onnx")
    inputs = inputs_of("bert", 2, 9)
    export_int8(tmp_path / "float32.onnx", tmp_path / "int8.onnx", [inputs])
    assert sizes_of(tmp_path / "filled.onnx") == sizes_of(tmp_path / "int8.onnx")
    got = run(open_session(tmp_path / "filled.onnx", 1), inputs)
    assert all(value.isfinite().all() for value in got.values())


def test_the_two_files_of_a_template_tell_widths_apart() -> None:
    space = space_of("bert")
    first, second = telling_pair(space)
    assert all(a != b for a, b in zip(first, second, strict=True))
    finder = HoleFinder(space, first, second)
    other = space.counts(space.draw(4)[1])
    for i, kind in enumerate(space.kinds):
        assert finder(first[i], second[i])(other) == other[kind.groups[0]]
        assert finder(3 * first[i], 3 * second[i])(other) == 3 * other[kind.groups[0]]


def test_axes_that_cannot_be_cut_do_not_keep_a_pair_from_being_found() -> None:
    space = space_of("llama_gqa")  # rotary positions leave the dimensions of a head alone
    assert any(least == n > 2 for least, n in zip(space.narrowest, space.dense, strict=True))
    pair = telling_pair(space, 0.7)
    assert pair != (space.narrowest, space.dense)
    assert all(1 not in widths for widths in pair)


def test_packed_axes_are_sums() -> None:
    space = space_of("llama_gqa")
    first, second = telling_pair(space)
    inner = next(i for i, kind in enumerate(space.kinds) if kind.role == "inner")
    hidden = next(i for i, kind in enumerate(space.kinds) if kind.role == "hidden")
    hole = HoleFinder(space, first, second)(first[inner] + first[hidden], second[inner] + second[hidden])
    assert hole(space.counts(space.dense)) == space.dense[inner] + space.dense[hidden]


def test_a_number_that_is_no_size_is_refused() -> None:
    space = space_of("bert")
    finder = HoleFinder(space, *telling_pair(space))
    assert finder(7, 7)({}) == 7
    with pytest.raises(DeployError, match="the size of no axis"):
        finder(100_003, 7)


def graph(*ops: str) -> onnx.ModelProto:
    nodes = [onnx.helper.make_node(op, ["x"], [f"y{i}"]) for i, op in enumerate(ops)]
    return onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], []))


@pytest.mark.parametrize("other", [("Relu",), ("Relu", "Tanh")])
def test_graphs_that_differ_in_more_than_sizes_are_refused(other: tuple[str, ...]) -> None:
    space = space_of("bert")
    with pytest.raises(DeployError, match="the graph changes with the widths"):
        Template.of([graph("Relu", "Relu"), graph(*other)], telling_pair(space), space)


@pytest.mark.slow
def test_where_the_graph_changes_every_width_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    files = files_of("bert")
    files.say = said.append
    graphs = [graph("Relu"), graph("Tanh"), graph("Relu"), graph("Tanh"), graph("Relu"), graph("Relu")]
    monkeypatch.setattr(Files, "export", lambda self, widths, path: onnx.save(graphs.pop(0), path))
    for i in range(2):
        files.write(files.space.dense, tmp_path / f"{i}.onnx")
    assert not files.by_template
    assert not graphs
    assert "every width is exported" in said[-1]


def test_a_model_is_exported_once_for_a_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exports: list[tuple[int, ...]] = []

    def export(self: Files, widths: tuple[int, ...], path: Path) -> None:
        exports.append(widths)
        weight = onnx.numpy_helper.from_array(np.ones((widths[0], 40 + widths[0]), np.float32), "w")
        node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
        onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [], [weight])), path)

    monkeypatch.setattr(Files, "export", export)
    monkeypatch.setattr(HoleFinder, "__call__", lambda self, a, b: Hole(self.space, constant=a))

    def write() -> None:
        Files(traced_of("bert"), space_of("bert"), identity="bert", folder=tmp_path).write(
            space_of("bert").dense, tmp_path / "out.onnx"
        )

    write()
    kept = sorted((tmp_path / "templates").iterdir())
    assert len(exports) == len(kept) == 2
    assert all(
        len(onnx.load(path).graph.initializer[0].raw_data) in (0, exports[i][0] * (40 + exports[i][0]) * 4)
        for i, path in enumerate(kept)
    )
    first = sizes_of(tmp_path / "out.onnx")
    write()
    assert len(exports) == 2, "read from the cache"
    assert sizes_of(tmp_path / "out.onnx") == first
    kept[0].write_bytes(b"damaged")
    write()
    assert len(exports) == 4
