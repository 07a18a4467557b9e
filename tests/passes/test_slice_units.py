from __future__ import annotations

from typing import Any

import pytest
import torch
from cutting import halves, ledger_of
from models import inputs_of, traced_of
from torch import Tensor, nn

from fxprune.errors import PassError
from fxprune.groups import Groups, analyse
from fxprune.passes import DropoutMode, SliceUnits, run_passes
from fxprune.traced import Traced
from fxprune.units import IndexCache, Kept, take

OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW([{"params": p[:3]}, {"params": p[3:], "lr": 0.02}], lr=0.01),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
}


def _slice(traced: Traced, groups: Groups, optimizers: tuple[Any, ...] = (), seed: int = 0) -> Kept:
    kept = ledger_of(traced, groups).kept(halves(groups, ragged=True, seed=seed))
    assert run_passes(traced, [SliceUnits(groups.inferred, kept, optimizers)]) is True
    return kept


def _parameters(traced: Traced) -> list[nn.Parameter]:
    parameters = list(traced.parameters())
    for parameter in parameters:
        parameter.requires_grad_(True)
    return parameters


def _step(traced: Traced, optimizer: Any, name: str) -> float:
    optimizer.zero_grad()
    loss = traced(**inputs_of(name))[0].square().mean()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def test_an_empty_cut_changes_nothing() -> None:
    traced = traced_of("bert")
    groups = analyse(traced)
    before = dict(traced.named_parameters())
    assert run_passes(traced, [SliceUnits(groups.inferred, Kept())]) is False
    assert all(value is before[name] for name, value in traced.named_parameters())


def test_a_cut_is_made_once() -> None:
    traced = traced_of("bert")
    groups = analyse(traced)
    kept = _slice(traced, groups)
    with pytest.raises(PassError, match=r"the cut was made for other sizes\n  remedy  make a new one"):
        run_passes(traced, [SliceUnits(groups.inferred, kept)])


@pytest.mark.parametrize("name", ["bert", "llama", "fused_qkv"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_step_then_slice_is_slice_then_step(name: str, optimizer: str) -> None:
    """With gradients given, an optimizer moves the kept entries alike before and after the cut."""
    states = []
    for order in ("step, slice", "slice, step"):
        traced = traced_of(name)
        groups = analyse(traced)
        axes = groups.inferred.tensors
        optimizing = OPTIMIZERS[optimizer](_parameters(traced))
        generator = torch.Generator().manual_seed(0)
        gradients = [
            {n: torch.randn(p.shape, generator=generator).double() for n, p in traced.named_parameters()}
            for _ in range(3)
        ]
        kept = ledger_of(traced, groups).kept(halves(groups, ragged=True))
        index = IndexCache(kept)
        slices = {n: axes[groups.canonical(n)] for n in gradients[0]}
        small = {n: take(value, slices[n], index) for n, value in gradients[2].items()}
        _apply(traced, optimizing, gradients[0])
        _apply(traced, optimizing, gradients[1])
        if order == "step, slice":
            _apply(traced, optimizing, gradients[2])
        run_passes(traced, [SliceUnits(groups.inferred, kept, (optimizing,))])
        if order == "slice, step":
            _apply(traced, optimizing, small)
        named = {n: optimizing.state[p] for n, p in traced.named_parameters()}
        states.append(
            {n: p.detach() for n, p in traced.named_parameters()}
            | {f"{n}.{key}": torch.as_tensor(value) for n, state in named.items() for key, value in state.items()}
        )
    first, second = states
    assert first.keys() == second.keys()
    assert len(first) > len(dict(traced.named_parameters()))
    assert all(torch.equal(first[key], second[key]) for key in first)


def _apply(traced: Traced, optimizer: Any, gradients: dict[str, Tensor]) -> None:
    for name, parameter in traced.named_parameters():
        parameter.grad = gradients[name].clone()
    optimizer.step()


@pytest.mark.parametrize("name", ["bert", "llama", "tied_three_ways"])
def test_training_goes_on_after_several_cuts(name: str) -> None:
    traced = traced_of(name)
    groups = analyse(traced)
    ledger = ledger_of(traced, groups)
    run_passes(traced, [DropoutMode(train=True)])
    optimizer = torch.optim.AdamW(_parameters(traced), lr=1e-3)
    for seed in range(2):
        for _ in range(2):
            _step(traced, optimizer, name)
        kept = ledger.kept(halves(groups, seed=seed))
        ledger.record(kept)
        run_passes(traced, [SliceUnits(groups.inferred, kept, (optimizer,))])
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        assert held == {id(parameter) for parameter in traced.parameters()}
        assert {id(parameter) for parameter in optimizer.state} == held
    losses = [_step(traced, optimizer, name) for _ in range(4)]
    assert losses[-1] < losses[0] or name == "bert"  # dropout is noisy
    for parameter in traced.parameters():
        assert parameter.grad is not None
        assert parameter.grad.shape == parameter.shape


def test_gradients_are_carried_and_frozen_parameters_stay_frozen() -> None:
    traced = traced_of("bert")
    groups = analyse(traced)
    trained, frozen = "bert.encoder.layer.0.output.dense.weight", "bert.encoder.layer.1.output.dense.weight"
    for name, parameter in traced.named_parameters():
        parameter.requires_grad_(name == trained)
    traced(**inputs_of("bert"))[0].sum().backward()
    gradient = traced.get_parameter(trained).grad
    assert gradient is not None
    before = traced.get_parameter(trained)
    kept = _slice(traced, groups)
    after = traced.get_parameter(trained)
    assert after is not before
    assert after.requires_grad
    assert after.is_leaf
    assert torch.equal(after.grad, take(gradient, groups.inferred.tensors[trained], IndexCache(_again(groups, kept))))  # type: ignore[arg-type]
    assert not traced.get_parameter(frozen).requires_grad
    assert traced.get_parameter(frozen).grad is None


def _again(groups: Groups, kept: Kept) -> Kept:
    """The cut as it was, for tensors of the old sizes."""
    for factor, mask in kept.units.items():
        factor.size = mask.shape[-1]
    return kept


def test_ties_stay_tied() -> None:
    traced = traced_of("tied_three_ways")
    _slice(traced, analyse(traced))
    weight = traced.get_parameter("tokens.weight")
    assert weight.shape == (31, 12)
    assert traced.get_parameter("head.weight") is weight
    assert traced.get_parameter("other.head.weight") is weight
    assert len(list(traced.parameters())) == 2
    assert sum("weight" in name for name in traced.state_dict()) == 4


def test_tied_buffers_stay_tied() -> None:
    from fxprune.passes import CANONICAL
    from fxprune.tracing import capture

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave = nn.Linear(10, 8), nn.Linear(8, 3)
            self.register_buffer("first", torch.rand(8))
            self.register_buffer("second", self.first, persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.leave(self.enter(x) * self.first + self.second)

    model, inputs = Shared(), {"x": torch.randn(5, 10)}
    traced = capture(model, inputs)
    run_passes(traced, CANONICAL)
    assert torch.equal(traced(**inputs), model(**inputs))
    _slice(traced, analyse(traced))
    assert traced.get_buffer("first").shape == (4,)
    assert traced.get_buffer("first") is traced.get_buffer("second")


def test_buffers_are_cut_and_stay_buffers() -> None:
    traced = traced_of("llama")
    _slice(traced, analyse(traced))
    frequencies = traced.get_buffer("model.rotary_emb.inv_freq")
    assert frequencies.shape == (2,)
    assert not isinstance(frequencies, nn.Parameter)


def test_the_old_tensors_are_not_written_to() -> None:
    traced = traced_of("bert")
    old = dict(traced.named_parameters())
    copies = {name: value.detach().clone() for name, value in old.items()}
    _slice(traced, analyse(traced))
    assert all(torch.equal(value, copies[name]) for name, value in old.items())


def test_an_optimizer_whose_state_has_another_shape_is_refused() -> None:
    traced = traced_of("fused_glu")
    groups = analyse(traced)
    optimizer = torch.optim.Adafactor(_parameters(traced))
    _step(traced, optimizer, "fused_glu")
    before = traced.num_parameters()
    kept = ledger_of(traced, groups).kept(halves(groups))
    with pytest.raises(PassError, match=r"the state 'row_var' of Adafactor cannot be cut(.|\n)*such as Adam or SGD"):
        run_passes(traced, [SliceUnits(groups.inferred, kept, (optimizer,))])
    assert traced.num_parameters() == before


def test_an_optimizer_that_did_not_step_yet_gets_the_new_parameters() -> None:
    traced = traced_of("fused_glu")
    groups = analyse(traced)
    optimizer = torch.optim.Adam(_parameters(traced))
    _slice(traced, groups, (optimizer,))
    assert optimizer.param_groups[0]["params"] == list(traced.parameters())
    _step(traced, optimizer, "fused_glu")
