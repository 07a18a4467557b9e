"""Where a run computes, and graphs that move there."""

from __future__ import annotations

import pytest
import torch
from accelerate.state import PartialState
from models import inputs_of, traced_of

from fxprune.distillation.device import choose_device, move
from fxprune.distillation.ranks import Ranks
from fxprune.errors import UsageError
from fxprune.passes import DropoutMode, run_passes
from fxprune.traced import tensor_of

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_cuda")
def test_a_device_that_is_not_there_is_refused() -> None:
    for name in ("cuda", "cuda:1"):
        with pytest.raises(UsageError, match=r"there is no CUDA device\n.*use --device cpu"):
            choose_device(name)
    assert choose_device("auto") == choose_device("cpu") == CPU


def test_auto_is_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda")


@pytest.mark.parametrize("name", ["gpu", "meta", "tpu:0", ""])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"unknown device '{name}'\n.*use cpu, cuda or auto"):
        choose_device(name)


def test_a_graph_moves_with_its_tensors_ties_and_constants() -> None:
    """The meta device stands for one this machine has not."""
    traced = traced_of("bert")
    flags = {name: i % 2 == 0 for i, (name, _) in enumerate(traced.named_parameters())}
    for name, parameter in traced.named_parameters():
        parameter.requires_grad_(flags[name])
    move(traced, META)
    assert {tensor.device.type for tensor in (*traced.parameters(), *traced.buffers())} == {"meta"}
    assert {name: parameter.requires_grad for name, parameter in traced.named_parameters()} == flags
    for names in traced.provenance.aliases.values():
        assert len({id(tensor_of(traced, name)) for name in names}) == 1
    devices = [a for n in traced.graph.nodes for a in (*n.args, *n.kwargs.values()) if isinstance(a, torch.device)]
    assert devices
    assert set(devices) == {META}
    output = traced(**{name: tensor.to(META) for name, tensor in inputs_of("bert").items()})
    assert output.logits.device == META
    assert output.logits.shape == (5, 13, 99)


def test_a_graph_that_is_there_stays_as_it_is() -> None:
    traced = traced_of("bert")
    before = [id(parameter) for parameter in traced.parameters()]
    code = traced.code
    move(traced, CPU)
    assert [id(parameter) for parameter in traced.parameters()] == before
    assert traced.code == code


def test_passes_go_on_working_after_a_move() -> None:
    traced = traced_of("bert")
    move(traced, META)
    assert run_passes(traced, [DropoutMode(train=True)]) is True


def test_a_process_may_change_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accelerate keeps the device of the first run; one that says another would be ignored, or end in an error."""
    first = Ranks.join(CPU)
    monkeypatch.setitem(PartialState._shared_state, "device", torch.device("cuda"))
    assert Ranks.join(CPU).device == first.device == CPU
