"""Distillation with a fine-tuned head: classes of sequences, words and images, numbers, and texts to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from labelled import classified, compared, pictures, scored, summarised, tagged, write_rows
from models import _BERT, ALL, _hugging
from remembering import remembered
from text import tokenizer, write_jsonl
from torch import nn

from fxprune.distillation.config import DistillConfig, LossWeights
from fxprune.distillation.report import DistillResult
from fxprune.distillation.run import distill, prepare
from fxprune.errors import DataError, UsageError

FAST = {"max_steps": 6, "batch_size": 4, "length": 40, "held_out_batches": 2, "device": "cpu", "target_params": "50%"}
TRANSFER = {"hidden", "embedding", "attention"}


def model(name: str, **fields: object) -> nn.Module:
    torch.manual_seed(0)
    build = ALL[name].build if name in ALL else _hugging(name, **_BERT | fields)
    return build().eval()


def run(source: nn.Module, data: str, columns: dict[str, str] | None = None, **options: Any) -> DistillResult:
    words = None if source.main_input_name == "pixel_values" else tokenizer()
    with remembered():
        return distill(source, words, data, DistillConfig(**FAST | options), **columns or {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "classes", "write", "objective"),
    [
        ("BertForSequenceClassification", 2, classified, "sequence classification"),
        ("BertForTokenClassification", 3, tagged, "token classification"),
        ("vit", 7, pictures, "image classification"),
    ],
)
def test_classes_are_learnt_and_compared(
    name: str, classes: int, write: Callable[[Path], str], objective: str, tmp_path: Path
) -> None:
    result = run(model(name, num_labels=classes), write(tmp_path), verify=True)
    assert result.objective == objective
    assert result.student.certificate.holds
    assert set(result.held_out["teacher"]) == {"task", "accuracy"}
    assert set(result.held_out["student"]) == {"task", "kl", "accuracy", *TRANSFER}
    assert 0 <= result.held_out["student"]["accuracy"] <= 1
    first = result.history[0].losses
    assert first["task"] == pytest.approx(torch.tensor(float(classes)).log().item(), rel=0.2)
    assert [first[term] for term in ("kl", *TRANSFER)] == pytest.approx([0, 0, 0, 0], abs=1e-6)
    assert result.history[-1].losses["kl"] > 0


def test_a_pair_is_read_as_one(tmp_path: Path) -> None:
    result = run(model("BertForSequenceClassification"), compared(tmp_path), max_steps=2)
    assert result.objective == "sequence classification"


def test_a_pair_gets_token_types_where_the_tokenizer_makes_them(tmp_path: Path) -> None:
    own = tokenizer()
    names = own.model_input_names
    own.model_input_names = [*INPUTS, "token_type_ids"]
    try:
        ready = prepare(model("BertForSequenceClassification"), own, compared(tmp_path), DistillConfig(**FAST))  # type: ignore[arg-type]
    finally:
        own.model_input_names = names
    batch = next(ready.batches)
    assert tuple(batch.inputs) == (*INPUTS, "token_type_ids")
    assert batch.inputs["token_type_ids"].unique().tolist() == [0, 1]
    assert "token_type_ids" in ready.examples


INPUTS = ("input_ids", "attention_mask")


def test_a_number_is_a_regression(tmp_path: Path) -> None:
    result = run(model("BertForSequenceClassification", num_labels=1), scored(tmp_path), verify=True)
    assert result.objective == "regression"
    assert set(result.held_out["teacher"]) == {"task"}
    assert set(result.held_out["student"]) == {"task", "kl", *TRANSFER}


@pytest.mark.parametrize("classes", [1, 2])
def test_without_labels_predictions_are_compared_only(classes: int, tmp_path: Path) -> None:
    """A student that is its teacher still has no loss, so it is scored by what it would predict."""
    source = model("BertForSequenceClassification", num_labels=classes)
    result = run(source, write_jsonl(tmp_path, 120))
    assert any("has no labels" in note for note in result.notes)
    assert result.held_out["teacher"] == {}
    assert set(result.held_out["student"]) == {"kl", *TRANSFER}
    assert result.history[0].losses["total"] == 0
    assert result.student_params < result.teacher_params


def test_training_on_labels_helps(tmp_path: Path) -> None:
    source = model("BertForTokenClassification", num_labels=3)
    weights = LossWeights(kl=0, hidden=0, embedding=0, attention=0)
    result = run(source, tagged(tmp_path), loss=weights, learning_rate=1e-2, max_steps=30, table_rate=1.0)
    teacher, student = result.held_out["teacher"], result.held_out["student"]
    assert set(student) == {"task", "accuracy"}
    assert student["task"] < teacher["task"] - 0.3
    assert student["accuracy"] > teacher["accuracy"] + 0.2


@pytest.mark.parametrize("name", ["t5", pytest.param("bart", marks=pytest.mark.slow)])
def test_an_encoder_decoder_learns_from_pairs(name: str, tmp_path: Path) -> None:
    result = run(translator(name), summarised(tmp_path), verify=True)
    assert result.objective == "sequence to sequence"
    assert result.student.certificate.holds
    assert set(result.held_out["teacher"]) == {"task"}
    assert set(result.held_out["student"]) == {"task", "kl", *TRANSFER}
    first = result.history[0].losses
    assert [first[term] for term in ("kl", *TRANSFER)] == pytest.approx([0, 0, 0, 0], abs=1e-6)


def test_an_encoder_decoder_learns_from_plain_text(tmp_path: Path) -> None:
    result = run(translator("t5"), write_jsonl(tmp_path, 120), length=16, max_steps=3)
    assert result.objective == "sequence to sequence"
    assert result.held_out["student"]["task"] > 1


@pytest.mark.parametrize("name", ["bert", "t5", "vit"])
def test_features_alone_may_be_chosen(name: str, tmp_path: Path) -> None:
    data = pictures(tmp_path) if name == "vit" else write_jsonl(tmp_path, 120)
    result = run(translator(name) if name == "t5" else model(name), data, objective="features", max_steps=3)
    assert result.objective == "features"
    assert "kl" not in result.held_out["student"]
    assert "accuracy" not in result.held_out["student"]


def test_without_a_task_loss_the_first_cut_is_scored_by_what_is_predicted(tmp_path: Path) -> None:
    result = run(model("bert"), write_jsonl(tmp_path, 120), loss=LossWeights(task=0), length=16)
    assert result.history[0].losses["total"] == 0
    assert result.student_params < result.teacher_params


def translator(name: str) -> nn.Module:
    if name == "t5":
        return model("t5")
    torch.manual_seed(0)
    sizes = {f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in _SIDE.items()}
    fields = {"vocab_size": 99, "d_model": 32, "max_position_embeddings": 64, "decoder_start_token_id": 2}
    return _hugging("BartForConditionalGeneration", **fields, **sizes)().eval()


_SIDE = {"layers": 2, "attention_heads": 4, "ffn_dim": 48}


# ---------------------------------------------------------------------- what is refused


def test_labels_outside_the_classes(tmp_path: Path) -> None:
    data = write_rows(tmp_path, [{"text": "the cat sees", "label": i} for i in range(9)])
    with pytest.raises(DataError, match=r"the model has 3 classes\n.*give labels from 0 to 2"):
        run(model("BertForSequenceClassification", num_labels=3), data)


def test_images_for_a_text_model_and_text_for_an_image_model(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no text column\n.*its columns are image, label"):
        run(model("BertForSequenceClassification"), pictures(tmp_path))
    with pytest.raises(DataError, match=r"no image column\n.*its columns are text"):
        run(model("vit"), write_jsonl(tmp_path))


def test_a_target_nobody_has_a_use_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="masked LM has no use for the target column 'label'"):
        run(model("bert"), classified(tmp_path), {"target_column": "label"})


def test_weights_that_sum_to_no_loss(tmp_path: Path) -> None:
    """The only term with a weight is one this model does not have, and that is said before the first step."""
    weights = LossWeights(task=1, kl=0, hidden=0, embedding=0, attention=0)
    with pytest.raises(UsageError, match="no loss term is left for this model"):
        prepare(
            model("BertForSequenceClassification"),
            tokenizer(),
            write_jsonl(tmp_path),
            DistillConfig(**FAST, loss=weights),  # type: ignore[arg-type]
        )
