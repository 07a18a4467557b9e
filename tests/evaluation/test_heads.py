"""The model of a task: whose weights it has, what is fresh, and what cannot get a head."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import transformers
from evaluating import CONFIG, tokenizer, write_model
from torch import nn

from fxprune.errors import SourceError, UsageError
from fxprune.evaluation.heads import check_tokenizer, features, fitting_length, load_head, longest, opened
from fxprune.evaluation.tasks import TASKS


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("bare"))


def head_of(folder, task):
    with opened(folder) as source:
        return load_head(source, TASKS[task])


def test_a_bare_model_gets_a_fresh_head_of_the_right_width(bare):
    own = transformers.BertModel.from_pretrained(bare).state_dict()
    for task, width in (("mnli", 3), ("stsb", 1), ("sst2", 2)):
        head = head_of(bare, task)
        assert head.fresh == ("classifier.bias", "classifier.weight")
        assert head.model.classifier.out_features == width
        assert all(torch.equal(head.model.bert.state_dict()[name], own[name]) for name in own)
    assert head_of(bare, "squad").fresh == ("qa_outputs.bias", "qa_outputs.weight")


def test_a_head_that_fits_is_kept_and_another_is_not(tmp_path):
    folder = write_model(tmp_path, "BertForSequenceClassification", num_labels=3)
    own = transformers.BertForSequenceClassification.from_pretrained(folder).classifier.weight
    kept = head_of(folder, "mnli")
    assert kept.fresh == ()
    assert torch.equal(kept.model.classifier.weight, own)
    assert head_of(folder, "sst2").fresh == ("classifier.bias", "classifier.weight")


def test_the_head_is_drawn_from_torchs_generator(bare):
    drawn = []
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        drawn.append(head_of(bare, "sst2").model.classifier.weight.detach())
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def test_a_language_model_lends_its_backbone(tmp_path):
    folder = write_model(tmp_path, "BertForMaskedLM")
    assert "classifier.weight" in head_of(folder, "sst2").fresh
    with opened(folder) as source:
        assert type(features(source)) is transformers.BertModel


def test_a_decoder_without_a_padding_token_pads_with_its_last(tmp_path):
    own = tokenizer().__class__(tokenizer_object=tokenizer().backend_tokenizer, eos_token="[SEP]")
    config = transformers.GPT2Config(vocab_size=40, n_embd=32, n_layer=1, n_head=4, n_positions=32, eos_token_id=3)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    own.save_pretrained(tmp_path)
    with opened(tmp_path) as source:
        check_tokenizer(source)
        assert load_head(source, TASKS["sst2"]).model.config.pad_token_id == 3
        assert longest(source) == 32


def test_the_longest_text_is_what_the_table_of_positions_holds(bare, tmp_path):
    with opened(bare) as source:
        assert longest(source) == 64
        assert fitting_length(source, 128, explicit=False) == 64
        assert fitting_length(source, 40, explicit=True) == 40
        with pytest.raises(UsageError, match=r"length is 65, and model '.*' takes 64 tokens"):
            fitting_length(source, 65, explicit=True)
    write_model(tmp_path, "RobertaModel", pad_token_id=1, max_position_embeddings=50)
    with opened(tmp_path) as source:
        assert longest(source) == 48  # positions count from behind the padding row
        ids = torch.full((1, 48), 7)
        source.model(input_ids=ids)


def test_a_graph_alone_is_refused_with_the_reason_it_has_no_class(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "student.pt2").write_bytes(b"")
    for failures in ({"hugging_face": "DeployError: no config\n  more"}, {"Hugging Face model": "no config"}):
        (folder / "fxprune.json").write_text(json.dumps({"format": "fxprune output", "failures": failures}))
        with pytest.raises(SourceError, match=r"is a graph \(.pt2\) and no Hugging Face model") as error:
            head_of(folder, "sst2")
        assert "no config" in error.value.cause
        assert "more" not in error.value.cause
    (folder / "fxprune.json").unlink()
    for name in (str(folder), "student.pt2"):
        with pytest.raises(SourceError, match="cannot get the head of a task"):
            head_of(name, "sst2")


def test_models_of_images_have_no_such_head(tmp_path):
    config = transformers.ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48)
    transformers.ViTModel(config).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(SourceError, match="cannot be loaded as AutoModelForSequenceClassification"):
        head_of(tmp_path, "sst2")


def test_a_folder_without_a_tokenizer_or_whole_weights_is_refused(bare, tmp_path):
    for name in ("model.safetensors", "config.json"):
        shutil.copy(bare / name, tmp_path / name)
    with pytest.raises(SourceError, match="has no tokenizer"):
        head_of(tmp_path, "sst2")
    tokenizer().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(
        (bare / "config.json").read_text().replace('"hidden_size": 32', '"hidden_size": 64')
    )
    with pytest.raises(SourceError, match=r"the weights of model .* cannot be read"):
        head_of(tmp_path, "sst2")


def test_a_model_in_memory_needs_a_tokenizer_and_a_class_of_the_library():
    model = transformers.BertModel(transformers.BertConfig(**CONFIG))
    with pytest.raises(SourceError, match="a model in memory comes without a tokenizer"), opened(model):
        pass
    with (
        pytest.raises(SourceError, match="a Linear has no class in transformers"),
        opened(nn.Linear(2, 2), tokenizer()),
    ):
        pass
