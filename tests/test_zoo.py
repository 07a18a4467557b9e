"""The zoo through the compiler: a representative dozen here, every architecture in `make check-coverage`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from zoo import HANDWRITTEN, LIBRARY, ZOO, model_of
from zoo.cutting import Halved, difference
from zoo.shipping import bundle_error, onnx_of, reload_error
from zoo.widths import widths

import fxprune
from fxprune.errors import CaptureError
from fxprune.traced import Traced

pytestmark = pytest.mark.captures

EXACT = 1e-5

# what none of the other tests' models has: gathered positions, grouped convolutions, padding, windows, experts, sounds,
# pictures interpolated, two towers, a Fourier transform
FEW = ("mobilebert", "mixtral", "swin", "fnet")
MORE = (*HANDWRITTEN, "falcon", "albert", "deberta", "squeezebert", "phi3", "marian", "segformer", "wav2vec2", "clip")
DOZEN = (*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE))  # all are rows of the coverage check too


@cache
def _captured(name: str) -> Traced:
    return fxprune.capture(model_of(ZOO[name]), ZOO[name].inputs(5, 13))


def test_the_zoo_holds_what_the_project_promises() -> None:
    assert len(LIBRARY) == 64
    assert len(HANDWRITTEN) >= 9


@pytest.mark.parametrize("name", DOZEN)
def test_half_of_every_group_is_the_masked_dense_model(name: str) -> None:
    inputs = ZOO[name].inputs(5, 13)
    dense = _captured(name)
    assert difference(dense, model_of(ZOO[name]), inputs) < EXACT
    half = Halved.of(dense)
    assert half.faults(inputs) == []
    assert half.permutation(inputs) < EXACT
    assert half.masked(inputs) < EXACT
    found = widths(half.dense, half.groups)
    assert all(width.all for width in found.values()) or name == "fnet"
    if name == "fnet":  # inherent: a Fourier transform over the features themselves
        assert [str(width) for width in found.values()] == ["-", "1/2", "all"]
        assert "fft_fftn" in found["stream"].reasons[0]


@pytest.mark.parametrize(
    "name", ["layoutlm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("marian", "swin"))]
)
def test_a_slim_model_reloads_through_its_own_library(name: str, tmp_path: Path) -> None:
    model, inputs = model_of(ZOO[name]), ZOO[name].inputs(5, 13)
    slim = fxprune.prune(model, inputs, ratio=0.5)
    assert slim.num_parameters() < sum(parameter.numel() for parameter in model.parameters())
    assert reload_error(model, slim, inputs, tmp_path) < EXACT
    assert bundle_error(slim, inputs, tmp_path) < EXACT


@pytest.mark.slow
def test_experts_go_to_onnx(tmp_path: Path) -> None:
    inputs = ZOO["mixtral"].inputs(5, 13)
    half = Halved.of(fxprune.capture(model_of(ZOO["mixtral"]), inputs))
    assert onnx_of(half.slim, inputs, tmp_path).max_error < EXACT


def test_control_flow_that_depends_on_values_is_named() -> None:
    with pytest.raises(CaptureError, match=r"modeling_longformer.py:\d+  if is_global_attn"):
        fxprune.capture(model_of(ZOO["longformer"]), ZOO["longformer"].inputs(5, 13))
