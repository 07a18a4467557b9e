"""``export --with-past`` and ``generate``: a folder that writes texts, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from click.testing import CliRunner

from fxprune.cli import main

CONFIG = {"vocab_size": 66, "n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 24, "bos_token_id": 2}


@pytest.fixture(scope="module")
def decoder(words, tmp_path_factory):
    """A model folder, the folder it was exported to, and what was said."""
    model, folder = tmp_path_factory.mktemp("decoder") / "model", tmp_path_factory.mktemp("decoder") / "out"
    torch.manual_seed(0)
    config = transformers.GPT2Config(**CONFIG, eos_token_id=None, pad_token_id=0)
    transformers.GPT2LMHeadModel(config).save_pretrained(model)
    words.save_pretrained(model)
    result = CliRunner().invoke(main, ["export", str(model), "--with-past", "--output", str(folder), "--json"])
    assert result.exit_code == 0, result.output
    return model, folder, json.loads(result.stdout)


def test_the_folder_holds_all_that_generation_needs(decoder):
    _, folder, told = decoder
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    graphs = {"onnx/decoder_with_past.onnx", "onnx/generation.json"}
    assert found == graphs | {"tokenizer.json", "tokenizer_config.json"}
    assert told["max_error"] <= 1e-5
    assert (told["layers"], told["output"]) == (1, str(folder))


def test_generate_continues_prompts_as_the_library_does(run, words, decoder):
    model, folder, _ = decoder
    result = run("generate", folder, "--prompt", "w1 w2 w3", "--prompt", "w9", "--max-new-tokens", 6, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)["texts"]
    assert [text["prompt"] for text in told] == ["w1 w2 w3", "w9"]
    library = transformers.GPT2LMHeadModel.from_pretrained(model)
    ids = words("w1 w2 w3", return_tensors="pt")["input_ids"]
    ones = torch.ones_like(ids)
    want = library.generate(ids, attention_mask=ones, max_new_tokens=6, do_sample=False)[0, ids.shape[1] :].tolist()
    assert told[0]["tokens"] == want
    assert told[0]["text"] == " " + words.decode(want, skip_special_tokens=True)
    plain = run("generate", folder, "--prompt", "w1 w2 w3", "--max-new-tokens", 6)
    assert plain.stdout == f"w1 w2 w3{told[0]['text']}\n"
    assert "tokens/s" in plain.stderr


@pytest.mark.slow
def test_int8_files_alone(run, decoder, here):
    model, _, _ = decoder
    told = json.loads(run("export", model, "--with-past", "--int8", "--output", "small", "--json").stdout)
    assert told["files"] == ["generation.json", "decoder_with_past.int8.onnx"]
    assert told["int8_agreement"]["cosine"] > 0.99
    assert {file.name for file in Path("small", "onnx").iterdir()} == set(told["files"])
    for options in ((), ("--int8",)):
        assert run("generate", "small", "--prompt", "w1 w2", "--max-new-tokens", 3, *options).exit_code == 0
    run("export", model, "--with-past", "--output", "again")
    said = run("export", model, "--with-past", "--int8", "--float-tables", "--overwrite", "--output", "again").stdout
    assert {file.name for file in Path("again", "onnx").iterdir()} == set(told["files"])
    sizes = [Path(folder, "onnx", told["files"][1]).stat().st_size for folder in ("small", "again")]
    assert sizes[0] < sizes[1]
    assert "7-bit weights" in said or "8-bit weights" in said
    assert "step by step, cosine 0.99" in said


def test_other_precisions_with_a_cache_are_refused(run, decoder):
    for options in (("--fp16",), ("--int8", "static", "--dataset", "demo")):
        result = run("export", decoder[0], "--with-past", "--output", "x", *options)
        assert result.exit_code == 2
        assert "--with-past writes float32, or dynamic int8" in result.stderr
    told = run("export", decoder[0], "--with-past", "--int8", "--dataset", "demo", "--output", "x").stderr
    assert "--dataset is the text of static int8" in told
    result = run("generate", decoder[1], "--prompt", "w1", "--int8")
    assert "holds no int8 ONNX files" in result.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--prompt", " ".join(["w1"] * 25)), "a prompt has 25 tokens, the model has 24 positions"),
        (("--prompt", "w1", "--max-new-tokens", 30), "ask for 23 at most"),
        (("--prompt", ""), "a prompt has no token"),
    ],
)
def test_what_does_not_fit_is_told(run, decoder, options, complaint):
    result = run("generate", decoder[1], *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert complaint in result.stderr


def test_a_folder_that_does_not_generate_is_told(run, bert):
    result = run("generate", bert, "--prompt", "w1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "holds no ONNX files that generate" in result.stderr
    assert "fxprune export --model MODEL --with-past --output FOLDER" in result.stderr


def test_an_encoder_has_no_past(run, bert, here):
    result = run("export", bert, "--with-past", "--output", "out")
    assert result.exit_code == 2
    assert "has no key-value cache to export" in result.stderr
    assert list(here.iterdir()) == []
    result = run("export", bert, "--with-past")
    assert "--with-past writes several files" in result.stderr
    Path("out").mkdir()
    Path("out", "mine.txt").write_text("old")
    assert "is not empty" in run("export", bert, "--with-past", "--output", "out").stderr
