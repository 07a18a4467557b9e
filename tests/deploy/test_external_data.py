"""An ONNX file reads no weights from outside its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fxprune.deploy.external_data import check_external_data
from fxprune.errors import SourceError


def model(place: str | None, *, nested: bool = False) -> onnx.ModelProto:
    """One weight, in the file or at `place`; `nested`: as an attribute inside a branch."""
    weight = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    if place is not None:
        onnx.external_data_helper.set_external_data(weight, place)
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in "xy")
    constant = helper.make_node("Constant", [], ["y"], value=weight)
    branch = helper.make_graph([constant], "branch", [], [y])
    chosen = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    graph = (
        helper.make_graph([chosen], "g", [condition], [y])
        if nested
        else helper.make_graph([product], "g", [x], [y], [weight])
    )
    return helper.make_model(graph)


def saved(folder: Path, place: str | None, *, nested: bool = False) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model(place, nested=nested).SerializeToString())
    return path


def test_weights_inside_and_beside_the_file_are_found(tmp_path: Path) -> None:
    assert check_external_data(saved(tmp_path, None)) == []
    (tmp_path / "w.data").write_bytes(b"\0" * 16)
    assert check_external_data(saved(tmp_path, "w.data")) == [(tmp_path / "w.data").resolve()]
    assert check_external_data(saved(tmp_path, "w.data", nested=True)) == [(tmp_path / "w.data").resolve()]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("place", ["/etc/hostname", "../secret", "a/../../secret", ""])
def test_weights_outside_its_folder_are_refused(tmp_path: Path, place: str, nested: bool) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "in").mkdir()
    with pytest.raises(SourceError, match="outside its folder"):
        check_external_data(saved(tmp_path / "in", place, nested=nested))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "w.data").symlink_to(tmp_path / "secret")
    with pytest.raises(SourceError, match="outside its folder"):
        check_external_data(saved(tmp_path / "in", "w.data"))


def test_weights_that_are_missing_and_files_that_are_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"are not there: w\.data"):
        check_external_data(saved(tmp_path, "w.data"))
    (tmp_path / "x.onnx").write_bytes(b"no protobuf")
    with pytest.raises(SourceError, match="is no ONNX file"):
        check_external_data(tmp_path / "x.onnx")
