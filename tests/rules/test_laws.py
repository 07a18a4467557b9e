"""Every rule in the table is tried on real tensors: cut, then op == op, then cut."""

from __future__ import annotations

import random

import pytest
import torch
from rules.law import Sample, check_law
from rules.samples import shape_samples, t, text_samples
from torch._ops import OpOverload

from fxprune.rules import Applied, known_ops
from fxprune.rules.ops import _POINTWISE
from fxprune.rules.table import known_elsewhere, overload

aten = torch.ops.aten
TABLE = sorted(known_ops().items(), key=lambda item: str(item[0]))


@pytest.mark.parametrize(("op", "entry"), TABLE, ids=[str(op).removeprefix("aten.") for op, _ in TABLE])
def test_rule_is_true(op: OpOverload, entry: Applied) -> None:
    torch.manual_seed(0)
    random.seed(0)
    samples = shape_samples().get(op, [])
    if not callable(entry):
        samples = [*samples, *text_samples(op, entry)]
    assert samples, f"{op} has a rule but no sample call: add one to tests/rules/samples.py"
    for sample in samples:
        check_law(sample, entry(sample.call()) if callable(entry) else entry)


def test_rules_of_ops_registered_by_libraries_are_true() -> None:
    from transformers.integrations import moe

    assert moe is not None  # registers its op
    ends = torch.tensor([2, 2, 6], dtype=torch.int32)
    op = torch.ops.transformers.grouped_mm_fallback.default
    sample = Sample.of(op, t(6, 4), t(3, 4, 5), ends)
    assert known_elsewhere().keys() == {op.name()}
    assert check_law(sample, known_elsewhere()[op.name()]) == 2


FREEZE_EVERYTHING = {"arange", "linspace", "eye", "tril", "triu", "where", "squeeze"}


def test_most_rules_let_something_be_cut() -> None:
    idle = []
    for op, entry in TABLE:
        samples = shape_samples().get(op, []) if callable(entry) else text_samples(op, entry)
        if not any(check_law(sample, entry(sample.call()) if callable(entry) else entry) for sample in samples):
            idle.append(op._schema.name.removeprefix("aten::"))
    assert set(idle) <= FREEZE_EVERYTHING, "a rule that freezes all of its samples proves nothing"


def test_every_pointwise_name_is_an_op_of_this_torch() -> None:
    assert [name for name in _POINTWISE.split() if overload(name) is None] == []


def _conv() -> Sample:
    return Sample.of(aten.conv1d.default, t(2, 3, 7), t(3, 1, 3), t(3), groups=3)


# what a careless table might say; each is wrong in one place
WRONG = {
    "swapped result axes": (Sample.of(aten.transpose.int, t(3, 3), 0, 1), Applied("a b -> a b")),
    "swapped result axes of other sizes": (
        Sample.of(aten.bmm.default, t(2, 3, 4), t(2, 4, 5)),
        Applied("b i k, b k j -> b j i"),
    ),
    "softmax axis may be cut": (Sample.of(aten.softmax.int, t(2, 4), 1), Applied("a d -> a d")),
    "mean as if it were a sum": (Sample.of(aten.mean.dim, t(2, 4), [1]), Applied("a d -> a")),
    "maximum as if it were a sum": (Sample.of(aten.amax.default, -t(2, 4).abs(), [1]), Applied("a d -> a")),
    "linear with inputs and outputs swapped": (
        Sample.of(aten.linear.default, t(2, 4), t(4, 4), t(4)),
        Applied("... i, i o, o? -> ... o"),
    ),
    "norm as if it were pointwise": (
        Sample.of(aten.layer_norm.default, t(2, 4), [4]),
        Applied("... d -> ... d", literals={"normalized_shape": ["d"]}),
    ),
    "a literal that does not follow": (Sample.of(aten.view.default, t(2, 12), [2, 3, 4]), Applied("a (b c) -> a b c")),
    "a literal that follows the wrong one": (
        Sample.of(aten.view.default, t(2, 12), [2, 3, 4]),
        Applied("a (b c) -> a b c", literals={"size": ["a", "c", "b"]}),
    ),
    "a product in the wrong order": (
        Sample.of(aten.view.default, t(2, 16), [2, 4, 4]),
        Applied("a (c b) -> a b c", literals={"size": ["a", "b", "c"]}),
    ),
    "an inner repeat as an outer one": (
        Sample.of(aten.repeat_interleave.self_int, t(3), 2, 0),
        Applied("a -> (r a)", {"r": 2}, {"repeats": "r"}),
    ),
    "a split at the wrong place": (
        Sample.of(aten.split_with_sizes.default, t(2, 6), [2, 4], 1),
        Applied("a (x + y) -> a y, a x", {"x": 4, "y": 2}, {"split_sizes": ["x", "y"]}),
    ),
    "cat in the wrong order": (Sample.of(aten.cat.default, [t(3), t(3)]), Applied("x, y -> (y + x)")),
    "an operand that is not named": (Sample.of(aten.add.Tensor, t(2, 3), t(2, 3)), Applied("... -> ...")),
    "an operand of another rank": (Sample.of(aten.mm.default, t(2, 3), t(3, 4)), Applied("a i k, k j -> a i j")),
    "queries and keys unrelated": (
        Sample.of(aten.bmm.default, t(2, 3, 4), t(2, 4, 5)),
        Applied("b i k, b l j -> b i j"),
    ),
    "groups that do not follow": (_conv(), Applied("n o x!, o 1 k!, o? -> n o y!")),
    "cumsum as if it were pointwise": (Sample.of(aten.cumsum.default, t(2, 4), 1), Applied("a d -> a d")),
    "positions as if they were alike": (Sample.of(aten.flip.default, t(2, 4), [1]), Applied("a d -> a d")),
    "rows picked by data": (
        Sample.of(aten.index_select.default, t(4, 3), 0, torch.tensor([3, 1])),
        Applied("n d, m -> m d"),
    ),
    "a default that drifts with the size": (
        Sample.of(aten.scaled_dot_product_attention.default, t(2, 3, 4), t(2, 5, 4), t(2, 5, 4)),
        Applied("h q! e, h k! e, h k! v, q! k!? -> h q! v"),
    ),
    "keys that may be cut": (
        Sample.of(aten.scaled_dot_product_attention.default, t(2, 3, 4), t(2, 5, 4), t(2, 5, 4), scale=0.5),
        Applied("h q! e, h k e, h k v, q! k? -> h q! v"),
    ),
    "a transposed result": (Sample.of(aten.outer.default, t(3), t(3)), Applied("i, j -> j i")),
    "the wrong phase of a strided slice": (
        Sample.of(aten.slice.Tensor, t(2, 6), 1, 0, 6, 2),
        Applied("a (phase! kept) -> a kept", {"phase": 2}),
    ),
    "a slice from the front as one from the end": (
        Sample.of(aten.slice.Tensor, t(2, 6), 1, 0, 2),
        Applied("a (before + kept) -> a kept", {"before": 4}, {"end": "kept"}),
    ),
    "a result that was never named": (
        Sample.of(aten.split_with_sizes.default, t(2, 6), [3, 3], 1),
        Applied("a (x + y) -> a x, a x", {"x": 3, "y": 3}, {"split_sizes": ["x", "y"]}),
    ),
    "one weight for each channel as one for all": (
        Sample.of(aten.linear.default, t(2, 4), t(4, 4)),
        Applied("... i, o i, o? -> ... i"),
    ),
    "the largest as if it were alike": (Sample.of(aten.argmax.default, t(3, 5), 1), Applied("a d -> a")),
    "a spread read as a product of the wrong order": (
        Sample.of(aten.repeat.default, t(3), [2]),
        Applied("a -> (a r)", {"r": 2}, {"repeats": ["r"]}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_caught(name: str) -> None:
    sample, rule = WRONG[name]
    torch.manual_seed(1)
    with pytest.raises((AssertionError, RuntimeError, IndexError)):
        _check_often(sample, rule)


def _check_often(sample: Sample, rule: Applied) -> None:
    for _ in range(8):  # a mask of a few units may hit nothing by chance
        check_law(sample, rule)
