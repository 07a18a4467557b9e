"""What inference does with graphs and rules it cannot trust."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from models import traced_of
from torch import Tensor, nn

from fxprune.axes import factors_of, size_of
from fxprune.groups import analyse
from fxprune.inference import infer
from fxprune.passes import CANONICAL, run_passes
from fxprune.rules import Applied
from fxprune.rules import table as rule_table
from fxprune.tracing import capture

aten = torch.ops.aten


class Counted(nn.Module):
    """Folds batch and heads, and uses the size of that axis for something."""

    def __init__(self, use: Any) -> None:
        super().__init__()
        self.use = use
        self.enter, self.leave = nn.Linear(10, 24), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        folded = self.enter(x).view(-1, 4, 6).flatten(0, 1)
        return self.leave(self.use(folded).view(-1, 24))


def _groups(module: nn.Module, **inputs: Tensor) -> Any:
    traced = capture(module, inputs or {"x": torch.randn(5, 10)})
    run_passes(traced, CANONICAL)
    return analyse(traced)


USES = {
    "nothing": (lambda y: y.tanh(), True),
    "a number": (lambda y: y * y.shape[0], False),
    "a constant of that size": (lambda y: y + y.new_ones(y.shape[0], 1), False),
    "positions": (lambda y: y + torch.arange(y.shape[0])[:, None], False),
    "a view to that size": (lambda y: y.reshape(y.shape[0], 6) + 1, True),  # left to the view to compute
    "a repeat to that size": (lambda y: y + y[:1].repeat(y.shape[0], 1), False),
    "its own element count": (lambda y: y / y.numel(), False),
}


@pytest.mark.parametrize("use", USES)
def test_a_size_that_is_computed_with_freezes_what_it_counts(use: str) -> None:
    function, free = USES[use]
    groups = _groups(Counted(function))
    heads = [factor for factor in factors_of(groups.axis("enter.weight", 0)) if factor.size == 4]
    assert len(heads) == 1
    assert (groups.by_factor[heads[0]].frozen is None) is free


def test_a_number_in_the_place_of_a_tensor_is_no_operand() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave = nn.Linear(10, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.leave(self.enter(x) * x.shape[0] + 2.5)

    assert [group.size for group in _groups(Scaled()).prunable] == [8]


@pytest.mark.parametrize(
    "rule",
    [
        Applied("... i, o i, o? -> ... i"),  # the wrong result
        Applied("i, o i, o? -> o"),  # too few dimensions
        Applied("... i, o i -> ... o"),  # an operand short
        Applied("... 1, o i, o? -> ... o"),  # a size of one that is none
        Applied("... i, o i, o? -> ... (o o)"),
    ],
    ids=str,
)
def test_a_rule_that_does_not_fit_freezes_everything(rule: Applied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rule_table._RULES, aten.linear.default, rule)
    assert analyse(traced_of("fused_glu")).prunable == []


def test_an_op_with_results_that_are_no_tensors_freezes_its_operands() -> None:
    class Flash(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.o = nn.Linear(10, 24), nn.Linear(10, 24), nn.Linear(24, 3)

        def forward(self, x: Tensor) -> Tensor:
            q, k = (f(x).view(x.shape[0], 7, 4, 6).transpose(1, 2) for f in (self.q, self.k))
            mixed, *_ = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, k)
            return self.o(mixed.transpose(1, 2).flatten(2))

    groups = _groups(Flash(), x=torch.randn(5, 7, 10))
    assert groups.prunable == []
    assert any("flash_attention" in str(group.frozen) for group in groups)


@pytest.mark.parametrize("name", ["bert", "llama", "t5", "vit", "partial_rotary", "folded_heads", "conv_stem"])
def test_every_axis_has_the_size_of_its_dimension(name: str) -> None:
    traced = traced_of(name)
    found = infer(traced)
    checked = 0
    for node, results in found.axes.items():
        value = node.meta["val"]
        for axes, tensor in zip(results, value if isinstance(value, (list, tuple)) else [value], strict=True):
            for axis, size in zip(axes, tensor.shape, strict=True):
                predicted = size_of(axis)
                assert predicted == size if isinstance(size, int) else not isinstance(predicted, int)
                checked += 1
    assert checked > 50


def test_every_op_of_the_tested_architectures_has_a_rule_but_the_known_few() -> None:
    missing = {
        reason
        for name in ("bert", "roberta", "distilbert", "electra", "modernbert", "gpt2", "llama", "t5", "vit")
        for _, reason, _ in infer(traced_of(name)).freezes
        if reason.startswith("no rule")
    }
    assert missing <= {"no rule for aten.gather.default"}


class Routed(nn.Module):
    """Sorts rows by an id, lets each id multiply its own, and adds them up where they came from."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(10, 24), nn.Linear(16, 3)
        self.experts = nn.Parameter(torch.randn(2, 16, 24))

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        rows, order = self.enter(x), ids.argsort()
        sizes = (ids[:, None] == torch.arange(2)).sum(0).tolist()
        parts = [part @ expert.T for part, expert in zip(rows[order].split(sizes), self.experts, strict=True)]
        return self.leave(rows.new_zeros(len(rows), 16).index_add(0, order, torch.cat(parts)))


def test_rows_that_data_sorts_keep_their_features_free() -> None:
    ids = torch.randint(2, (5,))
    groups = _groups(Routed(), x=torch.randn(5, 10), ids=ids)
    assert {(group.size, len(group.members)) for group in groups.prunable} == {(24, 3), (16, 2)}
    into = groups.axis("experts", 1)
    assert into == groups.axis("leave.weight", 1)
