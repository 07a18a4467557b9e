from __future__ import annotations

import pytest
import torch

from fxprune.errors import RuleError
from fxprune.rules import Applied, Call, applied, known_ops, parameters_of, pins
from fxprune.rules.notation import parse
from fxprune.rules.table import first_only, opaque, overload, pointwise, rule, shape_rule

aten = torch.ops.aten


def test_a_second_rule_for_an_op_raises() -> None:
    before = known_ops()
    with pytest.raises(RuleError, match=r"aten.linear.default has a rule already"):
        rule(aten.linear.default, "a -> a")
    with pytest.raises(RuleError, match=r"aten.softmax.int has a rule already"):
        pointwise(aten.softmax.int)
    with pytest.raises(RuleError, match=r"aten.gelu.default has a rule already"):
        shape_rule(aten.gelu.default)(lambda call: opaque(call, "?"))
    with pytest.raises(RuleError, match="has a rule already"):
        first_only(aten.gelu.default)
    assert known_ops() == before


def test_a_malformed_line_raises_when_it_is_written() -> None:
    with pytest.raises(RuleError, match="no arrow"):
        rule(aten.sort.default, "a b")
    assert aten.sort.default not in known_ops()


def test_an_op_without_a_rule_has_none() -> None:
    assert applied(Call(aten.sort.default, {}, [(3,)], [(3,)])) is None


def test_nothing_is_pointwise_by_default() -> None:
    names = "sort topk scatter_reduce.two index_reduce native_layer_norm native_group_norm prod.dim_int bucketize histc"
    assert [name for name in names.split() if overload(name) in known_ops()] == []


def test_pointwise_operands_are_all_named() -> None:
    table = known_ops()
    assert table[aten.addcmul.default] == Applied("..., ...?, ...? -> ...")
    assert table[aten.where.self] == Applied("..., ...?, ...? -> ...")
    assert table[aten.gelu.default] == Applied("... -> ...")
    assert table[aten.type_as.default] == Applied("...,  -> ...")


def test_an_opaque_call_freezes_every_dimension_and_relates_none() -> None:
    text = parse(opaque(Call(aten.mm.default, {}, [(2, 3), None, (3, 4)], [(2, 4)]), "because").text)
    names = [
        name for line in (*text.operands, *text.results) for dim in line.dims for name in [getattr(dim, "name", None)]
    ]
    named = [name for name in names if name]
    assert len(named) == len(set(named)) == 6
    assert text.never_cut == set(named)


def test_parameters_know_which_take_tensors() -> None:
    assert parameters_of(aten.cat.default) == (("tensors", True, None), ("dim", False, 0))


def test_the_default_scale_of_attention_is_pinned_to_the_dense_head() -> None:
    call = Call(aten.scaled_dot_product_attention.default, {}, [(2, 4, 3, 64)] * 3, [(2, 4, 3, 64)])
    assert pins(call.op)["scale"](call) == 0.125
    assert pins(aten.linear.default) == {}


def test_overload_finds_ops_by_name() -> None:
    assert overload("add.Tensor") is aten.add.Tensor
    assert overload("gelu") is aten.gelu.default
    assert overload("no_such_op") is None
    assert overload("add.NoSuchOverload") is None
