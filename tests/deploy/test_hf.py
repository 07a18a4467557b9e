"""The saved folder is the slim model for people who never heard of fxprune."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
import transformers

from fxprune.deploy.hf import save_hf
from fxprune.errors import DeployError

WITHOUT_FXPRUNE = """
import sys
sys.modules["fxprune"] = None  # import fxprune now raises
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer
folder = sys.argv[1]
model = AutoModelForMaskedLM.from_pretrained(folder).eval()
case = torch.load(f"{folder}/../case.pt")
with torch.no_grad():
    torch.testing.assert_close(model(**case["inputs"]).logits, case["logits"])
print(type(model).__name__, "fxprune" in str(type(model)))
"""


def slim_of(tiny):
    return tiny.build(tiny.slim_config)


def save(tiny, slim, folder, **options):
    keywords = {"reference": lambda kwargs: slim(**kwargs, use_cache=False), "hints": tiny.hints} | options
    if tiny.name.startswith(("ViT", "Bert", "Distil")):
        keywords |= {"reference": options.get("reference", lambda kwargs: slim(**kwargs))}
    state = keywords.pop("state", slim.state_dict())
    return save_hf(tiny.cls, tiny.config, state, folder, example_kwargs=tiny.inputs(), **keywords)


def test_the_folder_loads_as_the_slim_model(tiny, tmp_path):
    slim = slim_of(tiny)
    (tmp_path / "plan.json").write_text("{}")
    export = save(tiny, slim, tmp_path)
    assert export.max_error <= 1e-6
    assert {"config.json", "model.safetensors"} <= {file.name for file in export.files}
    assert all(file.parent == tmp_path and file.exists() for file in export.files)
    again = tiny.cls.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(**tiny.inputs()).logits, slim(**tiny.inputs()).logits)
    assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in slim.parameters())
    assert (tmp_path / "plan.json").read_text() == "{}"
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_the_folder_loads_without_fxprune(bert, tmp_path):
    slim = slim_of(bert)
    save(bert, slim, tmp_path / "out")
    with torch.no_grad():
        torch.save({"inputs": bert.inputs(), "logits": slim(**bert.inputs()).logits}, tmp_path / "case.pt")
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_FXPRUNE, str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["BertForMaskedLM", "False"]


def test_the_report_tells_what_changed(bert, tmp_path):
    export = save(bert, slim_of(bert), tmp_path)
    assert export.changed == {"hidden_size": (32, 18), "num_attention_heads": (4, 3), "intermediate_size": (72, 40)}
    assert (export.model_class, export.variant) == ("BertForMaskedLM", 0)


def test_tied_weights_stay_tied_and_may_be_left_out(bert, tmp_path):
    slim = slim_of(bert)
    save(bert, slim, tmp_path, state=dict(slim.named_parameters()))
    again = bert.cls.from_pretrained(tmp_path)
    assert again.cls.predictions.decoder.weight is again.bert.embeddings.word_embeddings.weight
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"]


def test_a_variant_of_the_weights_is_taken_where_it_fits(bert, tmp_path):
    slim = slim_of(bert)
    right = slim.state_dict()
    wrong = {name: tensor * 2 if "query.weight" in name else tensor for name, tensor in right.items()}
    export = save(bert, slim, tmp_path, state=wrong, variants=[right])
    assert export.variant == 1


def test_weights_that_fit_no_config_write_nothing(bert, tmp_path):
    slim = slim_of(bert)
    wrong = {name: tensor * 2 if "query.weight" in name else tensor for name, tensor in slim.state_dict().items()}
    with pytest.raises(DeployError, match="combinations of config and weights of BertForMaskedLM") as refusal:
        save(bert, slim, tmp_path, state=wrong)
    assert "1e-04 is allowed" in refusal.value.cause
    assert list(tmp_path.iterdir()) == []


def test_missing_weights_are_named(bert, tmp_path):
    slim = slim_of(bert)
    state = {name: tensor for name, tensor in slim.state_dict().items() if "layer.1.output" not in name}
    with pytest.raises(DeployError, match=r"the slim weights lack 'bert\.encoder\.layer\.1\.output"):
        save(bert, slim, tmp_path, state=state)


def test_the_tokenizer_lies_beside_the_model(bert, tmp_path):
    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "prune"])}
    tokenizer = transformers.BertTokenizer(vocab=vocabulary)
    save(bert, slim_of(bert), tmp_path, tokenizer=tokenizer)
    assert transformers.AutoTokenizer.from_pretrained(tmp_path)("prune")["input_ids"] == [2, 5, 3]


def test_half_precision_stays_half(bert, tmp_path):
    slim = slim_of(bert).to(torch.bfloat16)
    save(bert, slim, tmp_path)
    assert bert.cls.from_pretrained(tmp_path).dtype == torch.bfloat16


def test_all_files_may_be_read_by_the_same_people(bert, tmp_path):
    export = save(bert, slim_of(bert), tmp_path)
    assert len({file.stat().st_mode for file in export.files}) == 1
