"""The public functions: what they promise, and what they refuse."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest
import torch
from models import _BERT, inputs_of, model_of, text
from torch import Tensor, nn

import fxprune
from fxprune import FxpruneError, Plan
from fxprune.errors import CaptureError, PlanError, ScoreError, UsageError
from fxprune.groups import byproducts, feature_outputs
from fxprune.traced import Traced
from fxprune.verify.compare import output_tensors, relative_error

State = Mapping[str, Tensor]


def equal(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def pruned(name: str, **options: object) -> Traced:
    return fxprune.prune(model_of(name), inputs_of(name), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def half() -> Traced:
    """A BERT cut in half and proved."""
    return pruned("bert", ratio=0.5, verify=True)


@pytest.fixture(scope="module")
def encoder() -> nn.Module:
    """A BERT without a head."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    return BertModel(BertConfig(**_BERT)).eval()


# ---------------------------------------------------------------------- capture and prune


def test_a_captured_model_is_called_like_the_model() -> None:
    model = model_of("bert")
    traced = fxprune.capture(model, inputs_of("bert"))
    other = inputs_of("bert", 2, 21)
    assert type(traced(**other)) is type(model(**other))
    assert torch.equal(traced(**other).logits, model(**other).logits)
    assert traced.num_parameters() == sum(parameter.numel() for parameter in model.parameters())


def test_the_slim_model_is_called_like_the_model(half: Traced) -> None:
    model, other = model_of("bert"), inputs_of("bert", 2, 21)
    assert type(half(**other)) is type(model(**other))
    assert half(**other).logits.shape == model(**other).logits.shape
    assert half.num_parameters() == sum(parameter.numel() for parameter in half.parameters())


def test_half_of_every_axis_stays(half: Traced) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in half.state_dict().items()}
    assert shapes["bert.embeddings.word_embeddings.weight"] == (99, 16)
    assert shapes["bert.encoder.layer.1.intermediate.dense.weight"] == (24, 16)
    assert shapes["bert.encoder.layer.1.attention.self.query.weight"] == (16, 16)
    assert half.plan.sizes()["bert.encoder.layer.0.attention.heads"] == 4


def test_with_verify_it_comes_with_a_certificate(half: Traced) -> None:
    assert half.certificate.holds
    assert max(half.certificate.permutation, half.certificate.masked) < 1e-10


def test_without_verify_it_has_none() -> None:
    slim = pruned("fused_glu", ratio=0.5)
    with pytest.raises(AttributeError, match="has no certificate"):
        _ = slim.certificate
    with pytest.raises(AttributeError, match="has no plan"):
        _ = fxprune.capture(model_of("fused_glu"), inputs_of("fused_glu")).plan


@pytest.mark.parametrize("options", [{"ratio": 0.5}, {"target_params": "50%"}, {"ratio": 0.5, "verify": True}])
def test_the_users_model_is_never_changed(options: dict) -> None:
    model = copy.deepcopy(model_of("bert")).train()
    model.config.use_cache = True
    for parameter in list(model.parameters())[::2]:
        parameter.requires_grad_(False)
    before = copy.deepcopy(model)
    identities = [id(tensor) for tensor in (*model.parameters(), *model.buffers())]
    options = {"importance": "sensitivity", "loss": lambda output: output.logits.square().mean(), "verify": True}
    slim = fxprune.prune(model, inputs_of("bert"), target_params="50%", **options)  # type: ignore[arg-type]
    assert slim.num_parameters() < sum(parameter.numel() for parameter in model.parameters())
    assert equal(model.state_dict(), before.state_dict())
    assert identities == [id(tensor) for tensor in (*model.parameters(), *model.buffers())]
    flags = [(p.requires_grad, p.grad) for p in model.parameters()]
    assert flags == [(p.requires_grad, None) for p in before.parameters()]
    assert all(module.training for module in model.modules())
    assert model.config.to_dict() == before.config.to_dict()


def test_ratio_one_changes_no_bit() -> None:
    slim = pruned("bert", ratio=1.0, verify=True)
    assert equal(slim.state_dict(), model_of("bert").state_dict())
    assert torch.equal(slim(**inputs_of("bert")).logits, model_of("bert")(**inputs_of("bert")).logits)


@pytest.mark.parametrize("target", ["50%", 12_000, "12k"])
def test_a_target_is_an_upper_bound(target: int | str) -> None:
    total = sum(parameter.numel() for parameter in model_of("bert").parameters())
    slim = pruned("bert", target_params=target)
    bound = 12_000 if target in (12_000, "12k") else total / 2
    assert 0.99 * bound <= slim.num_parameters() <= bound
    sizes = slim.plan.sizes()
    heads = sizes["bert.encoder.layer.0.attention.heads"]
    assert heads * sizes["bert.encoder.layer.0.attention.value"] == sizes["hidden"]


def test_widths_are_free_if_it_need_not_load() -> None:
    sizes = pruned("bert", ratio=0.85, loadable=False).plan.sizes()
    assert sizes["hidden"] == 27  # no multiple of four heads
    assert pruned("bert", ratio=0.85).plan.sizes()["hidden"] == 24


def test_ties_stay(half: Traced) -> None:
    state = dict(half.named_parameters(remove_duplicate=False))
    assert state["cls.predictions.decoder.weight"] is state["bert.embeddings.word_embeddings.weight"]


def test_the_score_decides_who_stays() -> None:
    options = {"target_params": "60%"}
    by_size = pruned("bert", **options).plan
    assert pruned("bert", **options).plan == by_size
    by_loss = pruned("bert", **options, importance="sensitivity", loss=lambda o: o.logits.square().mean()).plan
    assert by_loss != by_size
    assert by_loss.sizes() == by_size.sizes()
    assert pruned("bert", **options, importance="random").plan != by_size


def test_a_cut_by_sensitivity_hurts_its_loss_less_than_a_random_one() -> None:
    model, inputs = model_of("bert"), inputs_of("bert")
    wanted = model(**inputs).logits.detach()

    def loss(output: object) -> Tensor:
        return (output.logits - wanted + 0.1).square().mean()  # type: ignore[attr-defined]

    errors = {}
    for score in ("sensitivity", "random"):
        slim = fxprune.prune(model, inputs, ratio=0.8, importance=score, loss=loss)
        errors[score] = relative_error(slim(**inputs).logits.detach(), wanted)
    assert errors["sensitivity"] < errors["random"]


# ---------------------------------------------------------------------- plans


def test_dense_weights_and_plan_are_the_slim_weights(half: Traced) -> None:
    dense = model_of("bert").state_dict()
    plan = Plan.from_json(half.plan.to_json())
    assert plan == half.plan
    assert equal(plan.apply(dense), half.state_dict())
    assert equal(plan.implant(dense, half.state_dict()), dense)
    again = pruned("bert", plan=plan, verify=True)
    assert equal(again.state_dict(), half.state_dict())
    assert again.plan == plan


def test_trained_slim_weights_are_put_back_where_they_were_cut_from(half: Traced) -> None:
    dense = model_of("bert").state_dict()
    trained = {name: tensor + 1 for name, tensor in half.state_dict().items()}
    merged = half.plan.implant(dense, trained)
    assert equal(half.plan.apply(merged), trained)
    changed = sum(int((merged[name] != dense[name]).sum()) for name in dense)
    assert changed == sum(tensor.numel() for tensor in trained.values())
    assert equal(model_of("bert").state_dict(), dense)


def test_a_plan_of_another_model_is_refused(half: Traced) -> None:
    with pytest.raises(PlanError, match="the plan belongs to another model"):
        pruned("roberta", plan=half.plan)


def test_a_slim_model_is_pruned_again(half: Traced) -> None:
    again = fxprune.prune(half, inputs_of("bert"), ratio=0.5, verify=True)
    assert again.plan.sizes()["hidden"] == 8
    assert again.num_parameters() < half.num_parameters()
    assert half.plan.sizes()["hidden"] == 16


# ---------------------------------------------------------------------- outputs


def test_an_encoders_features_are_its_contract_unless_freed(encoder: nn.Module) -> None:
    inputs = text(5, 13)
    traced = fxprune.capture(encoder, inputs)
    assert feature_outputs(traced) == {0, 1}
    assert byproducts(traced) == frozenset()
    assert fxprune.analyse(traced)["hidden"].frozen
    assert not fxprune.analyse(traced, free_outputs=True)["hidden"].frozen
    kept = fxprune.prune(encoder, inputs, ratio=0.5)
    assert kept(**inputs).last_hidden_state.shape == (5, 13, 32)
    freed = fxprune.prune(encoder, inputs, ratio=0.5, free_outputs=True, verify=True)
    assert freed(**inputs).last_hidden_state.shape == (5, 13, 16)
    assert freed(**inputs).pooler_output.shape == (5, 16)


def test_one_output_may_be_freed(encoder: nn.Module) -> None:
    traced = fxprune.capture(encoder, text(5, 13))
    groups = fxprune.analyse(traced, free_outputs={1})
    frozen = {group.size for group in groups if group.frozen and "output" in group.frozen.reason}
    assert frozen == {32}  # the hidden state; the pooler's own width is free
    assert [group.name for group in groups.prunable if group.name.startswith("pooler")]


def test_features_beside_predictions_shrink_with_the_model() -> None:
    traced = fxprune.capture(model_of("t5"), inputs_of("t5"))
    assert feature_outputs(traced) == byproducts(traced) == {1}
    slim = pruned("t5", ratio=0.5)
    output = slim(**inputs_of("t5"))
    assert output.logits.shape[-1] == 99
    assert output.encoder_last_hidden_state.shape[-1] == 16
    whole = pruned("t5", ratio=0.5, free_outputs=False)
    assert whole(**inputs_of("t5")).encoder_last_hidden_state.shape[-1] == 32


def test_predictions_alone_have_no_byproducts() -> None:
    traced = fxprune.capture(model_of("bert"), inputs_of("bert"))
    assert feature_outputs(traced) == byproducts(traced) == frozenset()


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, UsageError, r"give one of ratio, target_params, target_flops, target_latency, plan\n.*given: none"),
        ({"ratio": 0.5, "target_params": "5k"}, UsageError, r"given: ratio, target_params"),
        ({"ratio": 1.5}, UsageError, r"the ratio 1.5 is not in \(0, 1\]"),
        ({"target_params": "lots"}, UsageError, r"cannot read the target 'lots'"),
        ({"target_params": "1M"}, PlanError, r"the target of 1,000,000 parameters is larger than the model"),
        ({"target_params": 10}, PlanError, r"out of reach\n.*the smallest reachable size is [\d,]+"),
        ({"ratio": 0.5, "importance": "sensitivty"}, ScoreError, r"did you mean 'sensitivity'\?"),
        ({"ratio": 0.5, "importance": "fisher"}, ScoreError, r"the score 'fisher' needs a gradient\n.*pass loss="),
        ({"ratio": 0.5, "free_outputs": {3}}, UsageError, r"the model has 1 outputs, so no output 3"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_remedy(options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        pruned("bert", **options)
    assert issubclass(error, FxpruneError)


@pytest.mark.parametrize(
    ("loss", "what"),
    [
        (lambda output: output.logits, r"\[5, 13, 99\]"),
        (lambda output: 3.0, "float"),
        (lambda output: output.logits.detach().mean(), r"\[\]"),
    ],
)
def test_a_loss_that_is_no_number_is_refused(loss: object, what: str) -> None:
    with pytest.raises(ScoreError, match=f"no number that depends on the weights\n.*loss= returned {what}"):
        pruned("bert", ratio=0.5, importance="sensitivity", loss=loss)


def test_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(CaptureError, match=r"do not fit BertForMaskedLM.forward\n.*argument 'pixels'"):
        fxprune.prune(model_of("bert"), {"pixels": torch.zeros(1)}, ratio=0.5)


def test_any_module_is_pruned_without_constraints() -> None:
    model = model_of("fused_qkv")
    slim = pruned("fused_qkv", ratio=0.5, verify=True)
    assert slim.plan.sizes()["hidden"] == 12
    assert len(output_tensors(slim(**inputs_of("fused_qkv")))) == 1
    assert slim.num_parameters() < sum(parameter.numel() for parameter in model.parameters())


# ---------------------------------------------------------------------- repair


def test_a_repaired_model_computes_more_of_what_the_dense_one_does() -> None:
    inputs = [inputs_of("vit", batch) for batch in (6, 7, 8, 9)]
    torn = pruned("vit", ratio=0.5, verify=True)
    mended = pruned("vit", ratio=0.5, verify=True, repair="least-squares", calibration=inputs)
    assert mended.plan == torn.plan
    assert (torn.certificate.weights, mended.certificate.weights) == ("dense", "slim")
    assert mended.certificate.holds
    assert mended.repairs.error(1) < mended.repairs.error(0)
    dense = output_tensors(model_of("vit")(**inputs_of("vit")))[0]
    errors = [float((output_tensors(slim(**inputs_of("vit")))[0] - dense).norm()) for slim in (torn, mended)]
    assert errors[1] < 0.8 * errors[0]
    with pytest.raises(AttributeError, match="this model has no repairs: it was not repaired"):
        _ = torn.repairs


def test_a_repair_goes_with_a_plan_and_needs_inputs_that_fit() -> None:
    plan = fxprune.make_plan(model_of("vit"), inputs_of("vit"), ratio=0.5)
    inputs = [inputs_of("vit", batch) for batch in (6, 7)]
    assert pruned("vit", plan=plan, repair="least-squares", calibration=inputs).repairs.inputs == (1, 1)
    with pytest.raises(CaptureError, match="the example inputs lack 'pixel_values'"):
        pruned("vit", plan=plan, repair="least-squares", calibration=[inputs[0], {}])
    with pytest.raises(UsageError, match="a repair needs at least two sets of calibration inputs, and there is 1"):
        pruned("vit", ratio=0.5, repair="least-squares", calibration=inputs[:1])
