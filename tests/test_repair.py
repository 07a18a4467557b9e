"""Repair: exact where units are exactly dependent, never worse on held-out inputs, and honest about what it leaves."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from handmade import HANDMADE
from models import ALL
from repairing import Mended, calibration, dense_of, doubled, inputs
from torch import Tensor, nn

from fxprune.certificate import certify
from fxprune.errors import UsageError
from fxprune.groups import Group, analyse
from fxprune.passes import CANONICAL, run_passes
from fxprune.refit import Settings
from fxprune.repair import Repairer, Repairs, check_repair
from fxprune.student import Student
from fxprune.traced import tensor_of
from fxprune.tracing import capture

EXACT = Settings(grid=(1e-3, 1e-6, 1e-9, 1e-12))

# ---------------------------------------------------------------------- exactly dependent units


def doubles(name: str) -> list[Group]:
    """Groups all of whose readers are weights: nothing makes up for a missing query, or in a tied head."""
    tied = {"bert": "bert.hidden", "torch_encoder": "hidden"}.get(name)
    groups = [group for group in analyse(dense_of(name)).prunable if group.role != "qk" and group.size % 2 == 0]
    return [group for group in groups if group.name != tied and not (tied and group.role == "hidden")]


@pytest.mark.parametrize(
    "name", ["vit", "llama_gqa", "einsum_attention", "stacked_experts", "fused_glu", "torch_encoder", "bert"]
)
def test_a_model_without_its_doubled_units_computes_what_it_did(name: str) -> None:
    """Neurons, values, heads, experts, the residual stream under its norms: the units that stay take over."""
    dense = dense_of(name)
    found = doubles(name)
    assert found
    for group in found:
        double, masks = doubled(dense, group.name)
        torn = Student(copy.deepcopy(double))
        torn.cut(masks)
        mended = Mended.of(name, masks, dense=double, settings=EXACT)
        before = Mended(name, double, torn, mended.repairs).error()
        assert before > 1e-3, group.name
        assert mended.error() < 1e-5 * before + ALL[name].tolerance if name in ALL else 1e-8, group.name


# ---------------------------------------------------------------------- any model


@pytest.mark.parametrize("name", [*HANDMADE, "bert", "llama_gqa", "t5", "vit"])
def test_a_repair_never_raises_the_held_out_error_of_a_weight(name: str) -> None:
    mended = Mended.of(name)
    assert mended.repairs.done or name == "tied_three_ways"
    for item in mended.repairs.done:
        assert item.held_out[1] <= item.held_out[0], item
        assert item.fitted[1] <= item.fitted[0], item
        assert (item.ridge is None) == (item.held_out[1] == item.held_out[0]), item
        assert mended.repairs.inputs == (3, 1)


@pytest.mark.parametrize("name", ["bert", "llama_gqa", "conv_stem", "einsum_attention"])
def test_the_proofs_hold_for_the_repaired_weights(name: str) -> None:
    mended = Mended.of(name)
    student = mended.student
    facts = (student.groups, student.plan, inputs(name))
    certificate = certify(copy.deepcopy(mended.dense), student.traced, *facts, changed=True)
    assert certificate.holds
    assert certificate.weights == "slim"
    assert json.loads(certificate.to_json())["weights"] == "slim"


def test_the_error_reported_is_that_of_the_outputs_themselves() -> None:
    """One layer: its outputs before the cut, and after it with and without the repair."""
    mended = Mended.of("fused_glu", {"inner#2": torch.arange(16) % 2 == 0}, settings=Settings(bias=False))
    (item,) = mended.repairs.done
    torn = Student(copy.deepcopy(mended.dense))
    torn.cut({"inner#2": torch.arange(16) % 2 == 0})
    held_out = calibration("fused_glu")[3]
    values = [layer_output(model, held_out) for model in (mended.dense, torn.traced, mended.student.traced)]
    variance = (values[0] - values[0].mean((0, 1))).square().sum()
    expected = [float((value - values[0]).square().sum() / variance) for value in values[1:]]
    assert item.held_out == pytest.approx(expected)
    assert expected[1] < 0.9 * expected[0]


def layer_output(model: nn.Module, kwargs: dict[str, Tensor]) -> Tensor:
    seen = []
    (node,) = (n for n in model.graph.nodes if n.name == "linear_2")  # type: ignore[union-attr]
    tapped = copy.deepcopy(model)
    output = next(n for n in tapped.graph.nodes if n.op == "output")  # type: ignore[union-attr]
    output.args = ((next(n for n in tapped.graph.nodes if n.name == node.name),),)  # type: ignore[union-attr]
    tapped.graph.set_codegen(torch.fx.graph.CodeGen())  # type: ignore[union-attr,operator]
    tapped.recompile()  # type: ignore[operator]
    with torch.no_grad():
        seen.append(tapped(*kwargs.values())[0])
    return seen[0]


# ---------------------------------------------------------------------- what stays as it is


class Orthogonal(nn.Module):
    """Inner features that are never on together."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 8, bias=False), nn.Linear(8, 3)
        self.up.weight.data = torch.eye(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(torch.relu(self.up(x)))


def test_weights_of_orthogonal_features_stay_as_they_are() -> None:
    traced = capture(Orthogonal().eval(), {"x": torch.randn(5, 8)})
    run_passes(traced, CANONICAL)
    student = Student(traced)
    (group,) = student.groups.prunable
    repairer = Repairer(traced, student.groups, Settings(bias=False))
    student.cut({group.name: torch.arange(8) < 5}, followers=[repairer.remember])
    before = tensor_of(traced, "down.weight").clone()
    rows = torch.eye(8).repeat(3, 1)
    repairs = repairer.repair([{"x": rows}, {"x": rows.flip(0)}])
    assert [item.ridge for item in repairs.done] == [None]
    assert torch.equal(tensor_of(traced, "down.weight"), before)


def test_a_weight_that_several_places_read_is_left_alone_with_the_reason() -> None:
    mended = Mended.of("bert")
    (skipped,) = mended.repairs.skipped
    assert skipped.reason == "2 places read this weight"
    name = skipped.weight
    sliced = mended.student.plan.apply(mended.dense.state_dict())[name]
    assert torch.equal(tensor_of(mended.student.traced, name), sliced)


def test_an_op_that_slides_a_filter_is_left_alone_with_the_reason() -> None:
    (skipped,) = Mended.of("conv_stem").repairs.skipped
    assert (skipped.weight, skipped.reason) == ("point.weight", "aten.conv2d.default does more than sum products")


def test_an_op_that_is_not_linear_in_its_weight_is_found_out() -> None:
    """The rule is not believed: the op is tried."""
    student = Student(copy.deepcopy(dense_of("fused_glu")))
    repairer = Repairer(student.traced, student.groups)
    student.cut({"inner#2": torch.arange(16) < 8}, followers=[repairer.remember])
    node = next(n for n in student.traced.graph.nodes if n.name == "linear_2")
    node.target = lambda x, weight, bias: torch.nn.functional.linear(x, weight.abs(), bias)
    before = tensor_of(student.traced, "down.weight").clone()
    repairs = repairer.repair(calibration("fused_glu"))
    assert [item.reason for item in repairs.skipped] == [f"{node.target} is not linear in it"]
    assert torch.equal(tensor_of(student.traced, "down.weight"), before)


def test_padding_counts_nothing() -> None:
    given = calibration("bert")
    other = [dict(kwargs) for kwargs in given]
    for kwargs in other:
        hidden = kwargs["attention_mask"] == 0
        kwargs["input_ids"] = torch.where(hidden, (kwargs["input_ids"] + 7) % 90 + 5, kwargs["input_ids"])
    first, second, third = (
        Mended.of("bert", given=batches, settings=settings)
        for batches, settings in ((given, None), (other, None), (other, Settings(mask="")))
    )
    name = "bert.encoder.layer.0.output.dense.weight"
    weights = [tensor_of(mended.student.traced, name).detach() for mended in (first, second, third)]
    torch.testing.assert_close(weights[0], weights[1])
    assert float((weights[0] - weights[2]).abs().max()) > 1e-4


def test_the_dense_model_and_tensors_that_are_not_cut_are_not_touched() -> None:
    dense = dense_of("vit")
    before = copy.deepcopy(dense.state_dict())
    Mended.of("vit", dense=dense)
    assert all(torch.equal(value, before[name]) for name, value in dense.state_dict().items())


def test_nothing_cut_is_nothing_repaired() -> None:
    mended = Mended.of("fused_glu", {})
    assert mended.repairs == Repairs()
    assert mended.error() == 0


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("method", "given", "said"),
    [
        ("least-square", [{}, {}], "unknown repair 'least-square'; did you mean 'least-squares'?"),
        ("none", [{}, {}], "calibration inputs were given, and no repair"),
        ("least-squares", [], "a repair needs at least two sets of calibration inputs, and there are none"),
        ("least-squares", [{}], "a repair needs at least two sets of calibration inputs, and there is 1"),
    ],
)
def test_what_cannot_be_repaired_on_is_refused(method: str, given: list[dict[str, Tensor]], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_repair(method, given)
    assert said in str(caught.value)
