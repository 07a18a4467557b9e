from __future__ import annotations

import pytest
import torch
from cutting import Cut
from models import inputs_of, traced_of
from rules.samples import shape_samples, text_samples

from fxprune.axes import resolve
from fxprune.groups import analyse
from fxprune.rules import known_ops
from fxprune.rules.notation import parse
from fxprune.units import Kept
from fxprune.verify.masked import MaskedDense, masked_error
from fxprune.verify.normalising import NORMALISING

aten = torch.ops.aten


def test_nothing_removed_is_the_dense_model() -> None:
    dense = traced_of("bert")
    assert masked_error(dense, dense, analyse(dense), Kept(), inputs_of("bert")) == 0.0


def test_removed_units_are_zero_in_every_value() -> None:
    dense = traced_of("bert")
    groups = analyse(dense)
    hidden = groups["hidden"]
    mask = torch.arange(hidden.size) % 2 == 0
    masked = MaskedDense(dense, groups, Kept({hidden.factor: mask}))
    seen = []
    run_node = masked.run_node
    masked.run_node = lambda n: seen.append((n, run_node(n))) or seen[-1][1]  # type: ignore[method-assign,func-returns-value]
    with torch.no_grad():
        masked.run(*inputs_of("bert").values())
    last = {node: results[0][-1] for node, results in groups.inferred.axes.items() if results[0]}
    wide = [value for node, value in seen if node in last and resolve(last[node]) == (hidden.factor,)]
    assert len(wide) > 10
    assert all(not value[..., ~mask].any() for value in wide)


def test_the_dense_parameters_are_not_written_to() -> None:
    for name in ("bert", "writes_in_place"):
        cut = Cut.of(traced_of(name))
        before = {key: value.clone() for key, value in cut.dense.state_dict().items()}
        cut.masked_error(inputs_of(name))
        assert all(torch.equal(value, before[key]) for key, value in cut.dense.state_dict().items())


def _normalising_ops() -> set[object]:
    found = set()
    for op, entry in known_ops().items():
        samples = shape_samples().get(op, []) if callable(entry) else text_samples(op, entry)
        rules = [entry(sample.call()) if callable(entry) else entry for sample in samples]
        if any(parse(rule.text).normalised for rule in rules):
            found.add(op)
    return found


def test_every_op_that_normalises_has_an_oracle() -> None:
    assert _normalising_ops() == set(NORMALISING)


CALLS = {
    aten.layer_norm.default: [([8], "w", "w", 1e-5), ([8], None, None, 1e-3)],
    aten.rms_norm.default: [([8], "w", 1e-5), ([8], None, None), ([8],)],
    aten.mean.dim: [([-1],), ([-1], True), ([0, 2], False)],
    aten.var.dim: [([-1],), ([-1], False, True)],
    aten.std.dim: [([-1],), ([-1], True, True)],
    aten.var.correction: [([-1],)],
    aten.std.correction: [([-1],)],
}


@pytest.mark.parametrize("op", CALLS, ids=str)
def test_the_oracle_is_the_op_on_the_kept_positions(op: torch._ops.OpOverload) -> None:
    x, weight = torch.randn(2, 3, 8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)
    kept = torch.arange(8) % 3 != 0
    for arguments in CALLS[op]:
        given = [weight * kept if value == "w" else value for value in arguments]
        small = [weight[kept] if value == "w" else [int(kept.sum())] if value == [8] else value for value in arguments]
        keywords = {"correction": 0, "keepdim": True} if "correction" in str(op) else {}
        got = NORMALISING[op](kept.expand(x.shape), x * kept, *given, **keywords)
        got = got[..., kept] if got.shape == x.shape else got
        assert torch.allclose(got, op(x[..., kept], *small, **keywords), atol=1e-12)


def test_the_oracle_of_a_group_norm_is_the_op_on_the_kept_channels() -> None:
    x, weight, kept = torch.randn(2, 8, 5).double(), torch.randn(8).double(), torch.arange(8) % 4 != 1
    mask = kept[None, :, None].expand(x.shape)
    got = NORMALISING[aten.group_norm.default](mask, x * mask, 2, weight * kept, weight * kept)
    expected = aten.group_norm.default(x[:, kept], 2, weight[kept], weight[kept])
    assert torch.allclose(got[:, kept], expected, atol=1e-12)


def test_the_oracle_of_a_weight_norm_is_the_op_on_the_kept_entries() -> None:
    v, length, kept = torch.randn(6, 8).double(), torch.randn(6, 1).double(), torch.arange(8) % 3 != 0
    mask = kept.expand(v.shape)
    got = NORMALISING[aten._weight_norm.default](mask, v * mask, length, 0)
    assert torch.allclose(got[:, kept], aten._weight_norm.default(v[:, kept], length, 0), atol=1e-12)
