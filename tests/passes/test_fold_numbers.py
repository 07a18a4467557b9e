"""A number may change if the weights around it take up the difference, and only then."""

from __future__ import annotations

import copy

import pytest
import torch
from cutting import Cut
from handling import outputs
from models import inputs_of, traced_of
from torch import nn
from zoo import ZOO, model_of

from fxprune.contractions import ATTENTION
from fxprune.errors import PassError
from fxprune.passes import CANONICAL, FoldNumbers, run_passes
from fxprune.rescaling.equations import number_at, scales, set_number
from fxprune.tracing import capture
from fxprune.verify.compare import relative_error

WIDTH = 8
EXAMPLE = {"x": torch.randn(5, WIDTH)}


class Scaled(nn.Module):
    """``head(drop(norm_weight * linear(x)) * factor) / divisor``."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)
        self.weight = nn.Parameter(torch.rand(WIDTH))
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        return self.head(self.drop(self.weight * self.inner(x)).view(-1, WIDTH) * 0.5) / 4.0


class Shared(Scaled):
    """The scaled value is used beside the product too."""

    def forward(self, x):
        value = self.weight * self.inner(x)
        return self.head((value * 0.5).tanh()) + value.sum()


class Tied(nn.Module):
    """A table that is scaled where words enter, and read as it is where they leave, behind ``(1 + weight) * x``."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, WIDTH)
        self.norm, self.weight = nn.LayerNorm(WIDTH, elementwise_affine=False), nn.Parameter(torch.rand(WIDTH))

    def forward(self, ids):
        x = self.norm(self.table(ids) * 3.0)
        return ((1.0 + self.weight) * x) @ self.table.weight.T


class Sensed(nn.Module):
    """Numbers whose change nothing can take up: a softmax, an epsilon and an activation would see it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        x = self.inner(x).softmax(-1) * 2.0
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) * 3.0 + 1e-6)
        return x.tanh() * 5.0


class InPlace(Scaled):
    """What is scaled in place is read through a view of it too."""

    def forward(self, x):
        value = self.inner(x)
        view = value[:, :2]
        return self.head(value.mul_(0.5).tanh()) + view.tanh().sum()


class ReadTwice(nn.Module):
    """``1 + weight`` scales, and the weight alone does too."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(WIDTH))

    def forward(self, x):
        return ((1.0 + self.weight) * x.tanh() * 0.5).tanh() + self.weight * x


class Scores(nn.Module):
    """``softmax(conv(x) @ inner(x).T / divisor)``: either side of the product can take up the difference."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.conv = nn.Linear(WIDTH, WIDTH), nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x):
        return (self.conv(x[:, None])[:, 0] @ self.inner(x).transpose(0, 1) / 4.0).softmax(-1)


def captured(model, example=EXAMPLE):
    traced = capture(model.eval(), example)
    run_passes(traced, CANONICAL)
    return traced


def scalings(traced):
    return [node for node in traced.graph.nodes if scales(node)]


def test_outputs_stay_while_the_numbers_change():
    traced = captured(Scaled())
    want = traced(**EXAMPLE)
    product, quotient = scalings(traced)
    assert FoldNumbers({product: 0.125, quotient: 2.0})(traced).modified
    assert (product.args[1], quotient.args[1]) == (0.125, 2.0)
    traced.recompile()
    torch.testing.assert_close(traced(**EXAMPLE), want)


def test_a_number_is_shared_out_among_what_it_multiplies():
    traced = captured(Scaled())
    before = copy.deepcopy(traced.state_dict())
    product, _ = scalings(traced)
    run_passes(traced, [FoldNumbers({product: 0.125})])
    ratios = {name: tensor / before[name] for name, tensor in traced.state_dict().items()}
    shares = [float(ratios[name].mean()) for name in ("inner.weight", "weight", "head.weight")]
    assert shares[0] * shares[1] * shares[2] == pytest.approx(4.0)
    assert min(shares) > 1.1
    torch.testing.assert_close(ratios["inner.bias"], torch.full((WIDTH,), shares[0]))
    assert torch.equal(traced.state_dict()["head.bias"], before["head.bias"])


def test_a_second_run_changes_nothing():
    traced = captured(Scaled())
    product, _ = scalings(traced)
    step = FoldNumbers({product: 0.125})
    run_passes(traced, [step])
    after = copy.deepcopy(traced.state_dict())
    assert not run_passes(traced, [step])
    assert all(torch.equal(after[name], tensor) for name, tensor in traced.state_dict().items())


def test_a_value_that_is_used_elsewhere_is_left_alone():
    traced = captured(Shared())
    before = copy.deepcopy(traced.state_dict())
    (product,) = scalings(traced)
    with pytest.raises(PassError, match=r"no weight can absorb the change of 0\.5 to 0\.25") as refusal:
        run_passes(traced, [FoldNumbers({product: 0.25})])
    assert refusal.value.node is product
    assert all(torch.equal(before[name], tensor) for name, tensor in traced.state_dict().items())
    assert product.args[1] == 0.5


def test_a_product_of_two_values_is_scaled_by_both():
    traced = captured(Scores())
    want, before = traced(**EXAMPLE), copy.deepcopy(traced.state_dict())
    (quotient,) = scalings(traced)
    FoldNumbers({quotient: 2.0})(traced)
    traced.recompile()
    torch.testing.assert_close(traced(**EXAMPLE), want)
    for name in ("inner.weight", "conv.weight"):
        torch.testing.assert_close(traced.state_dict()[name], before[name] * 0.5**0.5)


def test_a_norm_makes_up_for_a_table_that_is_tied():
    example = {"ids": torch.randint(11, (2, 5))}
    traced = captured(Tied().double(), example)
    want, table = traced(**example), traced.state_dict()["table.weight"].clone()
    product = next(node for node in scalings(traced) if number_at(node) == 3.0)
    run_passes(traced, [FoldNumbers({product: 6.0})])
    torch.testing.assert_close(traced.state_dict()["table.weight"], table / 2)
    torch.testing.assert_close(traced(**example), want, rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", [InPlace, ReadTwice])
def test_what_others_read_is_in_the_way(kind):
    traced = captured(kind())
    node = next(node for node in scalings(traced) if number_at(node) == 0.5)
    with pytest.raises(PassError, match="no weight can absorb"):
        run_passes(traced, [FoldNumbers({node: 0.25})])


@pytest.mark.parametrize("number", [0.0, -0.5])
def test_a_sign_cannot_be_absorbed(number):
    traced = captured(Scaled())
    product, _ = scalings(traced)
    with pytest.raises(PassError, match="no weight can absorb"):
        run_passes(traced, [FoldNumbers({product: number})])


def test_what_is_not_homogeneous_is_in_the_way():
    traced = captured(Sensed())
    for node in scalings(traced):
        with pytest.raises(PassError, match="no weight can absorb"):
            run_passes(traced, [FoldNumbers({node: 0.25})])


@pytest.mark.parametrize("name", ["bert", "gpt2", "vit", "conv_stem", "rotary"])
def test_slim_weights_absorb_the_scale_of_the_dense_head(name):
    cut = Cut.of(traced_of(name), ragged=True)
    before = outputs(cut.slim, inputs_of(name))
    attention = [node for node in cut.slim.graph.nodes if node.target is ATTENTION]
    slim_head = next(group.size for group in cut.after if group.role == "qk") * (2 if name == "rotary" else 1)
    numbers = dict.fromkeys(attention, slim_head**-0.5)
    assert run_passes(cut.slim, [FoldNumbers(numbers)]) is True
    assert all(node.kwargs["scale"] == slim_head**-0.5 for node in attention)
    assert max(map(relative_error, outputs(cut.slim, inputs_of(name)), before)) < 1e-12
    assert run_passes(cut.slim, [FoldNumbers(numbers)]) is False


# packed by concatenation, by a view and by nn.MultiheadAttention; three products over one dimension; rotary tables that
# are parameters; one key for all heads; a table that is tied; layers that share weights; an encoder and a decoder
ARCHITECTURES = ["gpt2", "deberta-v2", "deberta", "bloom", "siglip", "roformer", "falcon", "gemma", "albert", "t5"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_attention_may_have_any_scale(name):
    """All scores of a model get another scale at once, as they do in a class with other heads."""
    torch.manual_seed(0)
    model = model_of(ZOO[name]).double()
    with torch.no_grad():  # else the softmax is flat, and hides its scores
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    inputs = ZOO[name].inputs(3, 7)
    inputs = {key: value.double() if value.is_floating_point() else value for key, value in inputs.items()}
    traced = captured(model, inputs)
    before = outputs(traced, inputs)
    numbers = {node: number_at(node) * 1.7 for node in traced.graph.nodes if _scales_scores(node)}
    told = copy.deepcopy(traced)
    for node, number in zip([node for node in told.graph.nodes if _scales_scores(node)], numbers.values(), strict=True):
        set_number(node, number)
    told.recompile()
    assert max(map(relative_error, outputs(told, inputs), before)) > 1e-5
    run_passes(traced, [FoldNumbers(numbers)])
    # Gemma computes its norms in float32, whatever it is given
    assert max(map(relative_error, outputs(traced, inputs), before)) < (1e-6 if name == "gemma" else 1e-12)


def _scales_scores(node):
    """Tell the number in front of, behind or in a product of queries and keys."""
    if not scales(node):
        return False
    shape = node.meta["val"].shape
    return (
        node.target is ATTENTION
        or node.target is torch.ops.aten.baddbmm.default
        or (len(shape) >= 3 and "attention" in str(node.meta.get("nn_module_stack")).lower() and number_at(node) != 1.0)
    )
