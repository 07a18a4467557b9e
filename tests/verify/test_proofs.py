"""The three proofs: they hold on every architecture, and each kind of fault is caught by at least one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cutting import Cut, half_of
from models import ALL, ARCHITECTURES, inputs_of, model_of, traced_of
from torch import nn

from fxprune.groups import analyse
from fxprune.rules import Applied
from fxprune.rules import table as rule_table
from fxprune.rules.table import Call
from fxprune.traced import replace_tensor, tensor_of
from fxprune.verify.compare import output_tensors, relative_error
from fxprune.verify.permutation import permutation_error

aten = torch.ops.aten


@pytest.mark.parametrize("name", ALL)
def test_a_captured_model_computes_what_the_model_does(name: str) -> None:
    for inputs in (inputs_of(name), inputs_of(name, 3, 9), inputs_of(name, 1, 6)):
        got, expected = output_tensors(traced_of(name)(**inputs)), output_tensors(model_of(name)(**inputs))
        assert max(relative_error(a, b) for a, b in zip(got, expected, strict=True)) < 1e-12


@pytest.mark.parametrize("name", ALL)
def test_shuffled_units_do_not_move_the_outputs(name: str) -> None:
    traced = traced_of(name)
    groups = analyse(traced)
    for inputs in (inputs_of(name), inputs_of(name, 3, 9)):
        assert permutation_error(traced, groups, inputs) < ALL[name].tolerance


@pytest.mark.parametrize("ragged", [False, True], ids=["plain", "ragged"])
@pytest.mark.parametrize("name", ALL)
def test_slim_model_computes_what_the_masked_dense_one_does(name: str, ragged: bool) -> None:
    cut = half_of(name, ragged=ragged)
    assert cut.slim.num_parameters() < cut.dense.num_parameters()
    for inputs in (inputs_of(name), inputs_of(name, 3, 9)):
        assert cut.faults(inputs) == []
        assert cut.masked_error(inputs) < ALL[name].tolerance


# ModernBERT reads queries, keys and values from one (3, heads, dims) axis: one group for the dims of all three
JOINT_DIMS = {"modernbert"}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_width_of_a_transformer_can_be_cut(name: str) -> None:
    groups = analyse(traced_of(name))
    roles = {group.role for group in groups.prunable}
    assert {"hidden", "heads", "qk"} <= roles
    assert "value" in roles or name in JOINT_DIMS
    assert sum(group.size == 48 for group in groups.prunable) >= 2, "a feed-forward width for each layer"
    stream = max((group for group in groups.prunable if group.role == "hidden"), key=lambda group: len(group.members))
    assert stream.size == 32


@pytest.mark.parametrize("name", ["llama", "llama_gqa"])
def test_grouped_queries_are_cut_by_key_head_and_by_query(name: str) -> None:
    groups = analyse(traced_of(name))
    sizes = [
        group.size for group in groups.prunable if group.name.startswith("model.layers.0") and "head" in group.name
    ]
    assert sorted(sizes) == [2, 4] or sorted(g.size for g in groups.prunable if g.role == "queries per key") == [2, 2]


# ---- planted faults


def proofs(cut: Cut, name: str) -> set[str]:
    """Which proofs object to a cut model."""
    inputs, tolerance = inputs_of(name, 3, 9), 1e-4
    objecting = {"structure"} if cut.faults(inputs) else set()
    try:
        masked = cut.masked_error(inputs)
    except Exception:  # the slim graph does not even run
        masked = float("inf")
    if masked > tolerance:
        objecting.add("masked")
    if permutation_error(cut.dense, cut.before, inputs) > tolerance:
        objecting.add("permutation")
    return objecting


def test_no_proof_objects_to_a_sound_cut() -> None:
    assert proofs(Cut.of(traced_of("bert")), "bert") == set()


@pytest.mark.parametrize("tensor", ["bert.encoder.layer.0.intermediate.dense.bias", "cls.predictions.decoder.weight"])
def test_a_misaligned_slice_is_caught(tensor: str) -> None:
    cut = Cut.of(traced_of("bert"))
    value = tensor_of(cut.slim, tensor)
    replace_tensor(cut.slim, tensor, nn.Parameter(value.detach().roll(1, -1)))
    assert proofs(cut, "bert") == {"masked"}


def test_an_untied_embedding_is_caught() -> None:
    cut = Cut.of(traced_of("bert"))
    decoder = cut.slim.get_submodule("cls.predictions.decoder")
    decoder.weight = nn.Parameter(decoder.weight.detach().clone())
    assert proofs(cut, "bert") == {"structure"}


def test_a_computed_view_over_a_cut_head_dim_is_caught() -> None:
    """The graph runs, with two heads of mixed dims where there were four."""
    cut = Cut.of(traced_of("bert"), _only(traced_of("bert"), {"qk", "value"}))
    views = [n for n in cut.slim.graph.nodes if n.target is aten.view.default and n.args[1][-2:] == [4, 4]]
    assert views
    for view in views:
        view.update_arg(1, [*view.args[1][:-2], -1, 8])
    cut.slim.recompile()
    cut.slim(**inputs_of("bert"))  # no exception
    assert proofs(cut, "bert") == {"masked", "structure"}


def _only(traced: Any, roles: set[str]) -> dict[str, torch.Tensor]:
    return {group.name: torch.arange(group.size) % 2 == 0 for group in analyse(traced).prunable if group.role in roles}


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_literal_that_is_not_rewritten_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for skipped in range(3):
        count = iter(range(10_000))
        monkeypatch.setattr("fxprune.passes.slice_units._rewrite", _skipping(skipped, count))
        assert "structure" in proofs(Cut.of(traced_of(name)), name)


def _skipping(skipped: int, count: Any) -> Any:
    from fxprune.passes.slice_units import _rewrite as honest

    honest = getattr(honest, "__wrapped__", honest)

    def rewrite(literal: Any) -> None:
        if next(count) != skipped:
            honest(literal)

    rewrite.__wrapped__ = honest  # type: ignore[attr-defined]
    return rewrite


def _swapped_cat(call: Call) -> Applied:
    rule = rule_table._RULES[aten.concat.default](call)  # type: ignore[operator]
    left, _, right = rule.text.partition("->")
    return Applied(f"{left}-> {right.replace('(x0 + x1)', '(x1 + x0)')}", rule.sizes, rule.literals, rule.reason)


WRONG_RULES = {
    "inputs and outputs of a linear layer swapped": (
        "bert",
        aten.linear.default,
        Applied("... i, i o, o? -> ... o"),
    ),
    "rows of an embedding may be cut": ("bert", aten.embedding.default, Applied("v d, ... -> ... d")),
    "the axis of a softmax may be cut": ("head_pairs", aten.softmax.int, Applied("... d -> ... d")),
    "positions counted as if they were alike": ("counts_features", aten.arange.default, Applied(" -> d")),
    "halves joined in the wrong order": ("partial_rotary", aten.cat.default, _swapped_cat),
    "positions picked as if alike": ("two_axis_norm", aten.unbind.int, Applied("n b h s e -> b h s e")),
}


@pytest.mark.parametrize("fault", WRONG_RULES)
def test_a_wrong_rule_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, op, rule = WRONG_RULES[fault]
    monkeypatch.setitem(rule_table._RULES, op, rule)
    assert proofs(Cut.of(traced_of(name)), name)
