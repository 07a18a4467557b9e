"""A graph can be exported again, with what its capture found free."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.fx import symbolic_trace

from fxprune.deploy.program import export_program, first_line
from fxprune.errors import DeployError
from fxprune.tracing import capture

pytestmark = pytest.mark.captures


class Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.rand(64, 4))

    def forward(self, input_ids, scale):
        return self.table[input_ids] * scale[..., None] + self.table[: input_ids.shape[1]]


KWARGS = {"input_ids": torch.randint(0, 64, (5, 13)), "scale": torch.ones(5, 13)}


def test_bounds_found_at_capture_are_kept():
    exported = export_program(capture(Table(), KWARGS), KWARGS)
    assert exported.dims["input_ids"][1].max == 64
    assert exported.dims["scale"][0].__name__ == "batch"


def test_a_module_is_captured_first():
    exported = export_program(Table(), KWARGS)
    assert exported.dims["input_ids"][1].max == 64


def test_arguments_are_put_in_the_order_of_the_graph():
    exported = export_program(capture(Table(), KWARGS), dict(reversed(KWARGS.items())))
    assert list(exported.kwargs) == ["input_ids", "scale"]
    other = {"input_ids": torch.randint(0, 64, (2, 7)), "scale": torch.rand(2, 7)}
    with torch.no_grad():
        torch.testing.assert_close(exported.graph(**other), exported.program.module(check_guards=False)(**other))


def test_a_model_on_another_device_is_refused():
    with pytest.raises(DeployError, match=r"the model lies on meta(.|\n)*move it to the CPU"):
        export_program(symbolic_trace(Table().to("meta")), KWARGS)


def test_a_graph_that_cannot_be_exported_is_an_error_with_the_cause():
    class Broken(nn.Module):
        def forward(self, x):
            return torch.ops.aten.view.default(x, [7, 7])

    with pytest.raises(DeployError, match=r"the graph cannot be exported again(.|\n)*cause"):
        export_program(symbolic_trace(Broken()), {"x": torch.ones(5, 13)})


def test_the_first_line_of_an_error_is_short():
    assert first_line(RuntimeError("\n  why \n more")) == "why"
    assert first_line(RuntimeError()) == "RuntimeError"
    assert len(first_line(RuntimeError("x" * 999))) == 200
