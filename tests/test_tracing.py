from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from models import ALL, ARCHITECTURES, VOCABULARY, inputs_of, model_of, plain_text, text, traced_of
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from fxprune.errors import CaptureError
from fxprune.groups import analyse
from fxprune.passes.base import subgraph_nodes
from fxprune.tracing import capture, traceable

pytestmark = pytest.mark.captures


def _facts(model: nn.Module) -> dict[str, Any]:
    return {
        "state": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "identities": [id(parameter) for parameter in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "gradients": [(parameter.requires_grad, parameter.grad) for parameter in model.parameters()],
        "caches": [getattr(getattr(m, "config", None), "use_cache", None) for m in model.modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
    }


@pytest.mark.parametrize("name", ["bert", "t5", "gpt2", "tied_three_ways"])
def test_the_model_is_never_changed(name: str) -> None:
    torch.manual_seed(0)
    model = ALL[name].build().train()
    next(iter(model.parameters())).requires_grad_(False)
    inputs = ALL[name].inputs(5, 13)
    before, given, random = _facts(model), copy.deepcopy(inputs), torch.get_rng_state()
    capture(model, inputs)
    after = _facts(model)
    states = before.pop("state"), after.pop("state")
    assert before == after
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert all(torch.equal(inputs[key], given[key]) for key in given)
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_output_has_the_structure_of_the_models(name: str) -> None:
    inputs = inputs_of(name, 2, 8)
    got, expected = traced_of(name)(**inputs), model_of(name)(**inputs, **_no_cache(name))
    assert type(got) is type(expected)
    tensors = {key: value for key, value in expected.items() if isinstance(value, Tensor)}
    assert list(got.keys()) == list(tensors)
    assert all(torch.equal(got[key], tensors[key]) for key in tensors)


def _no_cache(name: str) -> dict[str, bool]:
    return {"use_cache": False} if name in ("gpt2", "llama", "llama_gqa", "t5") else {}


def test_tuples_stay_tuples() -> None:
    got = traced_of("tied_three_ways")(**inputs_of("tied_three_ways"))
    assert type(got) is tuple
    assert [value.shape[-1] for value in got] == [31, 31]


def test_a_captured_model_shares_nothing_with_the_model() -> None:
    model = ALL["fused_glu"].build()
    traced = capture(model, ALL["fused_glu"].inputs(5, 13))
    theirs = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    assert theirs.isdisjoint(tensor.untyped_storage().data_ptr() for tensor in traced.parameters())


def test_names_and_values_are_the_models_own() -> None:
    traced, model = traced_of("bert"), model_of("bert")
    state = model.state_dict()
    assert set(traced.state_dict()) == set(state)
    assert all(torch.equal(value, state[name]) for name, value in traced.state_dict().items())
    assert {name: p.requires_grad for name, p in traced.named_parameters()} == {
        name: p.requires_grad for name, p in model.named_parameters()
    }


def test_buffers_the_model_computes_are_in_no_state_dict() -> None:
    traced = traced_of("llama")
    assert "model.rotary_emb.inv_freq" in traced.provenance.recomputed
    assert "model.rotary_emb.inv_freq" in dict(traced.named_buffers())
    assert "model.rotary_emb.inv_freq" not in traced.state_dict()


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5", "fused_qkv", "tied_three_ways"])
def test_tied_tensors_are_one_tensor_under_all_their_names(name: str) -> None:
    traced, model = traced_of(name), model_of(name)
    names = {id(p): [] for p in model.parameters()}  # type: ignore[var-annotated]
    for key, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(key)
    tied = sorted(tuple(keys) for keys in names.values() if len(keys) > 1)
    assert tied
    assert sorted(traced.provenance.aliases.values()) == tied
    for keys in tied:
        assert len({id(traced.get_parameter(key)) for key in keys}) == 1


def test_a_tensor_that_shares_its_storage_only_stays_equal() -> None:
    class Sharing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.head = nn.Embedding(31, 8), nn.Linear(8, 31, bias=False)
            self.head.weight.data = self.tokens.weight.data

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.tokens(ids))

    model, ids = Sharing(), torch.randint(31, (5, 7))
    traced = capture(model, {"ids": ids})
    assert torch.equal(traced(ids=ids), model(ids))


def test_an_example_of_one_row_leaves_the_batch_free() -> None:
    model = model_of("bert")
    traced = capture(model, text(1, 13))
    for inputs in (text(1, 13), text(4, 9), text(1, 5)):
        assert torch.equal(traced(**inputs).logits, model(**inputs).logits)


def test_a_sliced_example_is_copied() -> None:
    ids = torch.randint(5, VOCABULARY, (9, 40))[:5, :13]
    traced = capture(model_of("bert"), {"input_ids": ids})
    assert traced.provenance.rung == "named"
    assert traced(**plain_text(3, 8)).logits.shape == (3, 8, VOCABULARY)


def test_examples_are_made_traceable() -> None:
    given = {"x": torch.randn(1, 3, requires_grad=True), "n": 2, "nested": [torch.ones(1, 4)], "scalar": torch.ones(())}
    made = traceable(given)
    assert made["x"].shape == (3, 3)
    assert not made["x"].requires_grad
    assert made["n"] == 2
    assert made["nested"][0].shape == (3, 4)
    assert made["scalar"].shape == ()
    two = traceable({"x": torch.randn(4, 2).T})
    assert two["x"].is_contiguous()


def test_other_lengths_need_no_capture_of_their_own() -> None:
    traced = traced_of("gpt2")
    for batch, length in ((2, 40), (7, 3)):
        inputs = inputs_of("gpt2", batch, length)
        assert torch.equal(traced(**inputs).logits, model_of("gpt2")(**inputs).logits)


def test_gradients_are_the_models_gradients() -> None:
    model, traced = copy.deepcopy(model_of("llama")), traced_of("llama")
    for module in (model, traced):
        module(**inputs_of("llama")).logits.square().mean().backward()
    expected = dict(model.named_parameters())
    for name, parameter in traced.named_parameters():
        assert torch.allclose(parameter.grad, expected[name].grad, rtol=1e-9, atol=1e-12)  # type: ignore[arg-type]


# ---- parts of a graph inside another


class Wrapped(nn.Module):
    """Runs parts of itself in another mode, which makes export wrap them in graphs of their own."""

    def __init__(self, autocast: bool) -> None:
        super().__init__()
        self.autocast = autocast
        self.enter, self.leave = nn.Linear(10, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.enter(x)
        with torch.autocast("cpu", enabled=self.autocast):
            y = y.float() * torch.sigmoid(self.enter(x))
        with torch.enable_grad():
            y, z = y + 1, y * 2
        return self.leave(y * z)


def test_parts_that_run_in_another_mode_are_unwrapped() -> None:
    model, x = Wrapped(autocast=False), torch.randn(5, 10)
    traced = capture(model, {"x": x})
    assert torch.equal(traced(x=x), model(x))
    assert subgraph_nodes(traced) == []
    assert [group.size for group in analyse(traced).prunable] == [8]


def test_a_part_under_autocast_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"a part of the model runs under autocast\n  node    test_tracing.py:"):
        capture(Wrapped(autocast=True), {"x": torch.randn(5, 10)})


def test_a_condition_stays_and_freezes_what_it_touches() -> None:
    class Conditional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave = nn.Linear(10, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.leave(torch.cond(x.sum() > 0, torch.sin, torch.cos, (self.enter(x),)))

    model, x = Conditional(), torch.randn(5, 10)
    traced = capture(model, {"x": x})
    with torch.no_grad():
        for inputs in (x, -x):
            assert torch.equal(copy.deepcopy(traced)(x=inputs), model(inputs))
    frozen = [str(group.frozen) for group in analyse(traced)]
    assert "no rule for cond at cond" in frozen
    assert analyse(traced).prunable == []


# ---- what cannot be captured


class Branching(nn.Module):
    """Decides by the values of a tensor what to compute."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(10, 4)
        self.inner = Decides()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.enter(x))


class Decides(nn.Module):
    """The part that decides."""

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        return -x


def test_data_dependent_control_flow_is_named_with_its_module_and_line() -> None:
    with pytest.raises(CaptureError) as refusal:
        capture(Branching(), {"x": torch.randn(5, 10)})
    error = refusal.value
    assert error.message == "Branching cannot be captured as one graph"
    assert error.module == "inner"
    assert str(error.node).startswith("test_tracing.py:")
    assert str(error.node).endswith("if x.sum() > 0:")
    assert "values of tensors may not decide" in (error.remedy or "")
    assert len(str(error).splitlines()) <= 6, "an error, not a page of graph"


def test_nothing_is_printed_while_a_capture_fails(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(CaptureError):
        capture(Branching(), {"x": torch.randn(5, 10)})
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []


@pytest.mark.parametrize(
    ("inputs", "cause"),
    [
        ({"ids": torch.ones(5, 7)}, "missing a required argument: 'x'"),
        ({"x": 1, "y": 2}, "unexpected keyword argument 'y'"),
    ],
)
def test_examples_that_do_not_fit_are_refused(inputs: dict[str, Any], cause: str) -> None:
    with pytest.raises(CaptureError, match=rf"the example inputs do not fit Branching.forward\n  cause   .*{cause}"):
        capture(Branching(), inputs)


def test_examples_the_model_cannot_compute_are_refused() -> None:
    with pytest.raises(CaptureError, match="Branching does not run on the example inputs") as refusal:
        capture(Branching(), {"x": torch.randn(5, 11)})
    assert "enter" in str(refusal.value)


def test_a_model_that_cannot_be_copied_is_refused() -> None:
    class Computed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = nn.Parameter(torch.ones(3))
            self.scaled = self.base * 2

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scaled

    with pytest.raises(
        CaptureError, match=r"Computed cannot be copied(.|\n)*cause   RuntimeError: Only Tensors created"
    ):
        capture(Computed(), {"x": torch.randn(5, 3)})


def test_graph_leaves_hold_no_assertions() -> None:
    traced = traced_of("llama")
    assert not any("assert" in str(node.target) for node in traced.graph.nodes)
    assert len(tree_leaves(traced(**inputs_of("llama")))) == 1


class Unrolled(nn.Module):
    """Loops over the positions, as a state-space model without its kernel does."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.step = nn.Embedding(31, 8), nn.Linear(8, 8)

    def forward(self, ids: Tensor) -> Tensor:
        x, state = self.tokens(ids), torch.zeros(ids.shape[0], 8)
        states = []
        for place in range(int(ids.shape[1])):
            state = torch.tanh(self.step(state) + x[:, place])
            states.append(state)
        return torch.stack(states, 1)


def test_a_length_that_is_unrolled_is_captured_as_fixed() -> None:
    traced = capture(Unrolled(), {"ids": torch.ones(5, 13, dtype=torch.int64)})
    assert traced.provenance.rung == "fixed length"
    assert traced(ids=torch.ones(3, 13, dtype=torch.int64)).shape == (3, 13, 8)
