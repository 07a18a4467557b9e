"""A head on the mean of all tokens: padding does not count, every model with hidden states gets one, it learns."""

from __future__ import annotations

import pytest
import torch
from evaluating import QUICK, write_model, write_task

from fxprune.errors import SourceError, UsageError
from fxprune.evaluation import evaluate
from fxprune.evaluation.heads import mean_head, opened
from fxprune.evaluation.pooling import mean_classifier, mean_of_tokens
from fxprune.evaluation.tasks import TASKS


@pytest.mark.parametrize(
    ("name", "task"), [("BertForMaskedLM", "mnli"), ("DistilBertModel", "mnli"), ("LlamaForCausalLM", "stsb")]
)
def test_a_head_on_the_mean_learns_a_task(tmp_path, task, name):
    fields = {"dim": 32, "n_heads": 4, "n_layers": 1, "hidden_dim": 48} if name.startswith("Distil") else {}
    model = write_model(tmp_path / "model", name, **fields)
    write_task(tmp_path / task, task)
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    done = evaluate(model, task, data=tmp_path, pooling="mean", **QUICK | {"max_steps": 300, "learning_rate": 5e-3})
    assert done.headline[0] > 0.8
    assert done.fresh == ("classifier.bias", "classifier.weight")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before


def test_each_seed_starts_from_the_weights_of_the_folder(tmp_path):
    model = write_model(tmp_path / "model")
    write_task(tmp_path / "stsb", "stsb")
    short = QUICK | {"max_steps": 4}
    both = evaluate(model, "stsb", data=tmp_path, pooling="mean", **short | {"seeds": 2})
    again = evaluate(model, "stsb", data=tmp_path, pooling="mean", **short | {"seeds": 1})
    assert both.runs[0].scores == again.runs[0].scores
    assert both.runs[1].scores != both.runs[0].scores


def test_padding_does_not_count(tmp_path):
    with opened(write_model(tmp_path)) as source:
        head = mean_head(source, TASKS["sst2"]).model
    ids = torch.randint(6, 30, (1, 5))
    padded = torch.cat([ids, torch.zeros(1, 3, dtype=torch.long)], dim=1)
    mask = torch.tensor([[1] * 5 + [0] * 3])
    with torch.no_grad():
        plain = head(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        assert torch.allclose(head(input_ids=padded, attention_mask=mask).logits, plain, atol=1e-6)
    assert torch.equal(mean_of_tokens(torch.ones(1, 2, 3), torch.zeros(1, 2, dtype=torch.long)), torch.zeros(1, 3))


def test_what_has_no_mean_of_tokens_is_refused(tmp_path):
    with opened(write_model(tmp_path)) as source, pytest.raises(UsageError, match=r"squad.*reads every token"):
        mean_head(source, TASKS["squad"])
    with pytest.raises(SourceError, match="does not return hidden states"):
        mean_classifier(torch.nn.Linear(1, 1), 2, "lin")
    with pytest.raises(UsageError, match=r"unknown pooling .men.*mean"):
        evaluate(tmp_path, "sst2", pooling="men")
