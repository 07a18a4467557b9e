"""Distillation from beginning to end on tiny models, and all it refuses before it starts."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from models import _BERT, ALL, _hugging
from remembering import remembered
from text import tokenizer, write_jsonl
from torch import nn

import fxprune
from fxprune.distillation.config import DistillConfig, LossWeights
from fxprune.distillation.report import DistillResult, StepReport
from fxprune.distillation.run import StartReport, distill
from fxprune.errors import DataError, PlanError, UsageError

FAST = {"max_steps": 6, "batch_size": 4, "length": 16, "held_out_batches": 2, "device": "cpu"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_jsonl(tmp_path_factory.mktemp("data"))


def model(name: str, **fields: object) -> nn.Module:
    """A model in float32; one of the tests' architectures, or any class built like BERT."""
    torch.manual_seed(0)
    build = ALL[name].build if name in ALL else _hugging(name, **_BERT | fields)
    return build().eval()


def run(name: str, dataset: str, *, fields: dict | None = None, mask: bool = True, **options: object) -> DistillResult:
    config = DistillConfig(**{"target_params": "40%"} | FAST | options)  # type: ignore[arg-type]
    with remembered():
        return distill(model(name, **fields or {}), tokenizer(mask=mask), dataset, config)


# ---------------------------------------------------------------------- the golden run


@pytest.fixture(scope="module")
def told() -> dict[str, list]:
    return {"start": [], "step": []}


@pytest.fixture(scope="module")
def golden(dataset: str, told: dict[str, list]) -> DistillResult:
    """Twenty steps of a BERT."""
    config = DistillConfig(target_params="40%", verify=True, **FAST | {"max_steps": 20})  # type: ignore[arg-type]
    return distill(
        model("bert"), tokenizer(), dataset, config, on_start=told["start"].append, on_step=told["step"].append
    )


def test_the_student_has_the_planned_size(golden: DistillResult, told: dict[str, list]) -> None:
    (start,) = told["start"]
    assert isinstance(start, StartReport)
    assert start.teacher_params == golden.teacher_params == 21_571
    assert start.student_params == golden.student_params == golden.student.num_parameters()
    assert 0.99 * 0.4 * 21_571 <= golden.student_params <= 0.4 * 21_571
    sizes = golden.student.plan.sizes()
    heads = sizes["bert.encoder.layer.0.attention.heads"]
    assert heads * sizes["bert.encoder.layer.0.attention.self.qk"] == sizes["hidden"]


def test_every_step_is_told(golden: DistillResult, told: dict[str, list]) -> None:
    assert tuple(told["step"]) == golden.history
    assert [report.step for report in golden.history] == [*range(1, 21)]
    first, last = golden.history[0], golden.history[-1]
    assert isinstance(first, StepReport)
    assert (first.steps, first.ratio, first.cut, first.params) == (20, 1.0, False, 21_571)
    assert (last.ratio, last.params) == (0.0, golden.student_params)
    assert [report.step for report in golden.history if report.cut] == [6, 10]
    params = [report.params for report in golden.history]
    assert params == sorted(params, reverse=True)
    assert all(report.tokens_per_second > 0 for report in golden.history)


def test_transfer_losses_start_at_zero_and_the_task_at_chance(golden: DistillResult) -> None:
    first = golden.history[0].losses
    assert first["task"] == pytest.approx(torch.tensor(99.0).log().item(), rel=0.05)
    assert [first[term] for term in ("kl", "hidden", "embedding", "attention")] == [0, 0, 0, 0]
    assert first["total"] == pytest.approx(first["task"])
    assert all(value > 0 for value in golden.history[-1].losses.values())


def test_the_student_is_measured_on_held_out_text(golden: DistillResult) -> None:
    assert set(golden.held_out) == {"teacher", "student"}
    assert golden.held_out["student"]["task"] < golden.held_out["teacher"]["task"]  # the teacher is random
    assert golden.objective == "masked LM"
    assert golden.notes == ()
    assert golden.seconds > 0


def test_the_student_is_proved_and_called_like_the_model(golden: DistillResult) -> None:
    assert golden.student.certificate.holds
    assert golden.student.certificate.masked < 1e-5
    ids = torch.randint(5, 40, (2, 9))
    output = golden.student(input_ids=ids, attention_mask=torch.ones_like(ids))
    assert type(output) is type(model("bert")(input_ids=ids))
    assert output.logits.shape == (2, 9, 99)
    assert torch.equal(output.logits, golden.student(input_ids=ids, attention_mask=torch.ones_like(ids)).logits)
    assert not any(parameter.requires_grad for parameter in golden.student.parameters())


def test_the_student_is_analysed_and_cut_again(golden: DistillResult) -> None:
    inputs = ALL["bert"].inputs(5, 13)  # captured from the slim graph
    again = fxprune.prune(golden.student, inputs, ratio=0.5, verify=True)
    assert again.num_parameters() < golden.student_params
    assert golden.student.num_parameters() == golden.student_params


def test_dense_shapes_and_plan_are_the_students_shapes(golden: DistillResult) -> None:
    sliced = golden.student.plan.apply(model("bert").state_dict())
    assert {name: t.shape for name, t in sliced.items()} == {n: t.shape for n, t in golden.student.state_dict().items()}


def test_the_same_seed_gives_the_same_run(golden: DistillResult, dataset: str) -> None:
    again = run("bert", dataset, max_steps=20)
    assert [report.losses for report in again.history] == [report.losses for report in golden.history]
    assert again.held_out == golden.held_out
    assert again.student.plan == golden.student.plan
    other = run("bert", dataset, max_steps=2, seed=1)
    assert other.history[0].losses != golden.history[0].losses


# ---------------------------------------------------------------------- other models


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_causal_model(name: str, dataset: str) -> None:
    result = run(name, dataset, mask=False, verify=True)
    assert result.objective == "causal LM"
    assert result.student.certificate.holds
    assert set(result.held_out["student"]) == {"task", "kl", "hidden", "embedding", "attention"}
    assert 0.38 * result.teacher_params < result.student_params <= 0.4 * result.teacher_params


def test_an_encoder_without_a_head_is_distilled_on_its_features(dataset: str) -> None:
    result = run("BertModel", dataset, verify=True)
    assert result.objective == "features"
    assert "the output features shrink with it" in result.notes[0]
    assert result.student.certificate.holds
    width = result.student.plan.sizes()["hidden"]
    output = result.student(**ALL["bert"].inputs(2, 9))
    assert output.last_hidden_state.shape == (2, 9, width)
    assert width < 32
    assert result.history[0].losses["total"] < 1e-9  # the student is still its teacher
    assert "kl" not in result.held_out["student"]
    maps = result.student.meta["maps"]  # back to the width of the teacher
    assert {len(weight) for weight in maps.values()} == {32}


def test_what_nothing_trains_is_said(dataset: str) -> None:
    result = run("BertForQuestionAnswering", dataset, max_steps=2)
    assert result.objective == "features"
    assert "nothing trains the layers that make predictions" in result.notes[0]
    assert result.student(**ALL["bert"].inputs(2, 9)).start_logits.shape == (2, 9)


def test_a_term_the_graph_does_not_show_is_said(dataset: str) -> None:
    fourier = "FNetForMaskedLM"  # it has no attention
    result = run(fourier, dataset, max_steps=2, target_params="70%")
    assert result.notes == ("no attention term: the graph shows no attention whose scores it could tell",)
    assert "attention" not in result.history[-1].losses


def test_attention_that_is_written_out_is_a_term(dataset: str) -> None:
    fused, written = (
        run("BertForMaskedLM", dataset, fields={"attn_implementation": kind}, max_steps=2) for kind in ("sdpa", "eager")
    )
    for one, other in zip(fused.history, written.history, strict=True):
        assert one.losses["attention"] == pytest.approx(other.losses["attention"], rel=1e-3, abs=1e-9)
    assert fused.history[-1].losses["attention"] > 1e-6


def test_widths_are_free_if_it_need_not_load(dataset: str) -> None:
    result = run("bert", dataset, loadable=False, max_steps=2, target_params="50%")
    assert result.notes == ("widths are free: the result need not load as its Hugging Face class",)
    assert result.student_params <= 0.5 * result.teacher_params


@pytest.mark.parametrize("steps", [1, 2])
def test_the_shortest_runs(steps: int, dataset: str) -> None:
    result = run("bert", dataset, max_steps=steps, verify=True)
    assert len(result.history) == steps
    assert result.student.certificate.holds
    assert result.student_params <= 0.4 * result.teacher_params


@pytest.mark.parametrize("name", ["bert", "BertModel"])
def test_one_sequence_a_step_is_enough(name: str, dataset: str) -> None:
    result = run(name, dataset, batch_size=1, length=8, mask_probability=0.05)
    assert all(value < 100 for report in result.history for value in report.losses.values())


def test_the_users_model_is_never_changed(dataset: str) -> None:
    own = model("bert").train()
    before = copy.deepcopy(own)
    distill(own, tokenizer(), dataset, DistillConfig(target_params="40%", **FAST))  # type: ignore[arg-type]
    assert all(torch.equal(value, before.state_dict()[name]) for name, value in own.state_dict().items())
    assert own.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in own.parameters())


def test_it_is_trained_with_dropout_if_asked(dataset: str) -> None:
    result = run("bert", dataset, dropout=True, max_steps=2, verify=True)
    assert result.history[0].losses["hidden"] > 0
    ids = ALL["bert"].inputs(2, 9)
    assert torch.equal(result.student(**ids).logits, result.student(**ids).logits)


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target_params": "1M"}, PlanError, r"larger than the model\n.*it has 21,571"),
        ({"target_params": 10}, PlanError, r"out of reach\n.*the smallest reachable size is"),
        ({"target_params": "a lot"}, UsageError, r"cannot read the target 'a lot'"),
        ({"device": "cuda"}, UsageError, r"there is no CUDA device"),
        ({"length": 72}, UsageError, r"the model cannot read sequences of 72 tokens"),
    ],
)
def test_what_cannot_be_done_is_told_before_any_step(
    options: dict, error: type, message: str, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(error, match=message):
        run("bert", dataset, **options)


def test_a_tokenizer_of_another_model_is_refused(dataset: str) -> None:
    with pytest.raises(UsageError, match=r"with ids up to \d\d\n(.|\n)*the tokenizer the model was trained with"):
        run("BertForMaskedLM", dataset, fields={"vocab_size": 20})


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_model_in_another_precision_is_refused(dtype: torch.dtype, dataset: str) -> None:
    with pytest.raises(UsageError, match=r"is trained in float32(.|\n)*model.float\(\)"):
        distill(model("bert").to(dtype), tokenizer(), dataset, DistillConfig(target_params="40%", **FAST))  # type: ignore[arg-type]


def test_data_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        run("bert", str(tmp_path / "nowhere.jsonl"))


def test_terms_that_leave_nothing_are_refused(dataset: str) -> None:
    only = LossWeights(task=0, kl=1, hidden=0, embedding=0, attention=0)
    with pytest.raises(UsageError, match="no loss term is left"):
        run("BertModel", dataset, loss=only)
