"""What a student is trained on is found from the graph and the tokenizer."""

from __future__ import annotations

import copy

import pytest
import torch
from models import _BERT, _hugging, traced_of
from models import text as text_inputs
from remembering import captured
from text import tokenizer

from fxprune.distillation.causality import looks_ahead
from fxprune.distillation.losses import IGNORED
from fxprune.distillation.objective import (
    CAUSAL,
    FEATURES,
    IMAGES,
    MASKED,
    REGRESSION,
    SEQ2SEQ,
    SEQUENCES,
    TOKENS,
    Objective,
    find_objective,
)
from fxprune.errors import UsageError


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "electra", "modernbert"])
def test_a_masked_language_model_is_recognised(name: str) -> None:
    found = find_objective(traced_of(name), tokenizer())
    assert found == Objective(MASKED, 0, ("input_ids", "attention_mask"))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_without_a_mask_token_it_is_a_causal_one(name: str) -> None:
    """GPT-2 views its token ids as (-1, length) before it looks them up."""
    found = find_objective(traced_of(name), tokenizer(mask=False))
    assert found == Objective(CAUSAL, 0, ("input_ids", "attention_mask"))


@pytest.mark.parametrize("name", ["gpt2", "llama_gqa"])
def test_a_decoder_whose_tokenizer_has_a_mask_token_is_a_causal_one(name: str) -> None:
    assert find_objective(traced_of(name), tokenizer()).name == CAUSAL
    assert find_objective(traced_of(name), tokenizer(), "masked-lm").name == MASKED
    assert looks_ahead(traced_of(name), 0) is False


def test_without_weights_the_mask_token_decides() -> None:
    traced = copy.deepcopy(traced_of("gpt2")).to("meta")
    assert looks_ahead(traced, 0) is None
    assert find_objective(traced, tokenizer()).name == MASKED


def test_predictions_that_never_change_say_nothing() -> None:
    traced = copy.deepcopy(traced_of("bert"))
    assert looks_ahead(traced, 0) is True
    for weight in traced.parameters():
        weight.data.zero_()
    assert looks_ahead(traced, 0) is None


def test_without_a_head_there_are_only_features() -> None:
    from transformers import BertConfig, BertModel

    traced = captured(BertModel(BertConfig(**_BERT)).eval(), text_inputs(5, 13))
    assert find_objective(traced, tokenizer()) == Objective(FEATURES, None, ("input_ids", "attention_mask"))


def test_labels_of_tokens_are_no_language_model() -> None:
    """Two labels, and a table of two token types: only the table of the token ids counts."""
    from transformers import BertConfig, BertForTokenClassification

    model = BertForTokenClassification(BertConfig(**_BERT, num_labels=2))
    inputs = text_inputs(5, 13)
    traced = captured(model, inputs | {"token_type_ids": torch.zeros_like(inputs["input_ids"])})
    found = find_objective(traced, tokenizer())
    assert (found.name, found.logits, found.classes) == (TOKENS, 0, 2)
    assert found.inputs == ("input_ids", "attention_mask", "token_type_ids")


@pytest.mark.parametrize(("classes", "name"), [(1, REGRESSION), (2, SEQUENCES), (5, SEQUENCES)])
def test_a_row_of_classes_for_each_sequence(classes: int, name: str) -> None:
    traced = captured(_hugging("BertForSequenceClassification", **_BERT, num_labels=classes)(), text_inputs(5, 13))
    found = find_objective(traced, tokenizer())
    assert (found.name, found.logits, found.classes) == (name, 0, classes)


def test_spans_of_an_answer_are_no_classes() -> None:
    """Two outputs as wide as the text."""
    traced = captured(_hugging("BertForQuestionAnswering", **_BERT)(), text_inputs(5, 13))
    assert find_objective(traced, tokenizer()).name == FEATURES


def test_images_are_classified_and_translations_written() -> None:
    assert find_objective(traced_of("vit"), None) == Objective(IMAGES, 0, ("pixel_values",), 7)
    found = find_objective(traced_of("t5"), tokenizer())
    assert found == Objective(SEQ2SEQ, 0, ("input_ids", "attention_mask", "decoder_input_ids"))


@pytest.mark.parametrize(
    ("name", "wanted", "chosen"),
    [
        ("bert", "causal-lm", CAUSAL),
        ("bert", "features", FEATURES),
        ("vit", "features", FEATURES),
        ("vit", "classification", IMAGES),
        ("t5", "features", FEATURES),
        ("t5", "seq2seq", SEQ2SEQ),
    ],
)
def test_what_fits_can_be_chosen(name: str, wanted: str, chosen: str) -> None:
    assert find_objective(traced_of(name), tokenizer(), wanted).name == chosen


@pytest.mark.parametrize(
    ("name", "wanted", "why", "fits"),
    [
        ("bert", "classification", "no output has a row of classes", "masked-lm, causal-lm, features"),
        ("bert", "seq2seq", "it takes no decoder_input_ids", "masked-lm, causal-lm, features"),
        ("vit", "causal-lm", "no output is as wide as the table", "features, classification"),
        ("t5", "masked-lm", "it has an encoder and a decoder", "seq2seq, features"),
        ("gpt2", "masked-lm", "its tokenizer has no mask token", "causal-lm, features"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(name: str, wanted: str, why: str, fits: str) -> None:
    with pytest.raises(UsageError, match=f"'{wanted}' does not fit the model\n.*{why}.*\n.*what fits: {fits}$"):
        find_objective(traced_of(name), tokenizer(mask=name != "gpt2"), wanted)


def test_a_model_of_sounds_is_refused() -> None:
    class Listener(torch.nn.Module):
        def forward(self, input_values: torch.Tensor) -> torch.Tensor:
            return input_values * 2

    traced = captured(Listener(), {"input_values": torch.randn(2, 30)})
    with pytest.raises(UsageError, match="needs the input 'input_values', which neither text nor images give"):
        find_objective(traced, None)


def test_a_model_of_text_and_images_together_is_refused() -> None:
    class Both(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, pixel_values: torch.Tensor) -> torch.Tensor:
            return input_ids.sum() * pixel_values

    inputs = {"input_ids": torch.zeros(2, 7, dtype=torch.int64), "pixel_values": torch.randn(2, 3, 8, 8)}
    with pytest.raises(UsageError, match="the model takes text and images together"):
        find_objective(captured(Both(), inputs), tokenizer())


def batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(5, len(tokenizer()), (4, 12))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def test_a_masked_batch_has_labels_where_it_is_masked() -> None:
    given = batch()
    objective = Objective(MASKED, 0, ("input_ids", "attention_mask", "token_type_ids"))
    made = objective.prepare(given, tokenizer(), torch.Generator().manual_seed(0), 0.3)
    assert made.labels is not None
    chosen = made.labels != IGNORED
    assert 0 < int(chosen.sum()) < chosen.numel()
    assert torch.equal(made.labels[chosen], given["input_ids"][chosen])
    assert torch.equal(made.inputs["input_ids"][~chosen], given["input_ids"][~chosen])
    assert (made.inputs["input_ids"] == tokenizer().mask_token_id).any()
    assert not made.inputs["token_type_ids"].any()
    assert set(made.inputs) == set(objective.inputs)


def test_a_causal_batch_is_labelled_with_the_next_token() -> None:
    given = batch()
    made = Objective(CAUSAL, 0, ("input_ids",)).prepare(given, tokenizer(mask=False), torch.Generator(), 0.15)
    assert made.labels is not None
    assert torch.equal(made.labels[:, :-1], given["input_ids"][:, 1:])
    assert (made.labels[:, -1] == IGNORED).all()
    assert set(made.inputs) == {"input_ids"}
    assert made.inputs["input_ids"] is given["input_ids"]


def test_a_batch_for_features_is_as_it_came() -> None:
    given = batch()
    made = Objective(FEATURES, None, ("input_ids", "attention_mask")).prepare(given, None, torch.Generator(), 0.15)
    assert made.labels is None
    assert all(torch.equal(made.inputs[name], given[name]) for name in made.inputs)


def test_the_same_generator_masks_the_same() -> None:
    given, objective = batch(), Objective(MASKED, 0, ("input_ids",))
    first, second = (objective.prepare(given, tokenizer(), torch.Generator().manual_seed(7), 0.15) for _ in range(2))
    assert torch.equal(first.inputs["input_ids"], second.inputs["input_ids"])


def test_a_batch_moves_as_a_whole() -> None:
    made = Objective(CAUSAL, 0, ("input_ids",)).prepare(batch(), None, torch.Generator(), 0.15)
    moved = made.to(torch.device("meta"))
    assert moved.labels is not None
    assert {moved.labels.device.type, moved.inputs["input_ids"].device.type} == {"meta"}
