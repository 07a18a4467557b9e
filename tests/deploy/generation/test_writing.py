"""Files with a cache generate what the library generates, for every kind of decoder, dense and cut."""

from __future__ import annotations

import onnx
import pytest
from generating import PROMPTS, build, generated
from zoo import LIBRARY, model_of

import fxprune
from fxprune.deploy.generation.caches import NoCacheError, check_remembers, remembers
from fxprune.deploy.generation.generator import OnnxGenerator
from fxprune.deploy.generation.writing import export_generation
from fxprune.deploy.ort import open_session
from fxprune.errors import DeployError, UsageError
from fxprune.sources import load_model

# learned positions, grouped queries, normed queries and keys, windows on some layers or all, position biases, pairs
KINDS = ["gpt2", "llama", "qwen3", "gemma3_text", "mistral", "bloom", "opt", "t5", "bart", "marian"]
CUT = ["gpt2", "llama", "qwen3", "mistral", "t5", "bart"]
COUNT = 12


def test_a_decoder_has_the_usual_names_and_free_sizes(llama):
    _, folder, written = llama
    graph = written.graphs["decoder_with_past.onnx"]
    assert graph.inputs == {
        "input_ids": ("batch", "length"),
        "attention_mask": ("batch", "total_length"),
        "position_ids": ("batch", "length"),
        **{
            f"past_key_values.{layer}.{part}": ("batch", 2, "past_length", 16)
            for layer in range(2)
            for part in ("key", "value")
        },
    }
    present = [f"present.{layer}.{part}" for layer in range(2) for part in ("key", "value")]
    assert list(graph.outputs) == ["logits", *present]
    assert [value.name for value in open_session(graph.path).get_outputs()] == ["logits", *present]
    assert sorted(file.name for file in (folder / "onnx").iterdir()) == ["decoder_with_past.onnx", "generation.json"]
    assert sorted(written.files) == sorted((folder / "onnx").iterdir())
    assert (written.layers, written.window) == (2, None)
    onnx.checker.check_model(onnx.load(graph.path))


def test_a_decoder_generates_what_the_library_does(llama):
    model, folder, written = llama
    assert written.max_error <= 1e-5
    assert OnnxGenerator(folder, 1).generate(PROMPTS, COUNT) == generated(model, PROMPTS, COUNT)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in KINDS if name != "llama"])
def test_every_kind_generates_what_the_library_does(name, tmp_path):
    model = build(name)
    written = export_generation(model, tmp_path / "onnx")
    assert written.max_error <= 1e-5
    assert written.window == {"gemma3_text": 8, "mistral": 8}.get(name)
    assert OnnxGenerator(tmp_path, 1).generate(PROMPTS, COUNT) == generated(model, PROMPTS, COUNT)


@pytest.mark.slow
@pytest.mark.parametrize("name", CUT)
def test_a_model_that_was_cut_generates_what_its_folder_does(name, tmp_path):
    slim = fxprune.prune(build(name), LIBRARY[name].inputs(5, 13), ratio=0.5)
    slim.save(tmp_path)
    model = load_model(str(tmp_path)).model
    written = export_generation(model, tmp_path / "onnx")
    assert written.max_error <= 1e-5
    assert OnnxGenerator(tmp_path, 1).generate(PROMPTS, COUNT) == generated(model, PROMPTS, COUNT)


@pytest.mark.slow
def test_an_encoder_decoder_makes_keys_of_the_source_once(tmp_path):
    written = export_generation(build("bart"), tmp_path)
    encoder, decoder = written.graphs["encoder.onnx"], written.graphs["decoder.onnx"]
    assert list(encoder.inputs) == ["input_ids", "attention_mask"]
    assert encoder.outputs[:3] == ("last_hidden_state", "present.0.encoder.key", "present.0.encoder.value")
    assert decoder.inputs["past_key_values.1.encoder.value"] == ("batch", 4, "source_length", 16)
    assert decoder.inputs["past_key_values.1.decoder.value"] == ("batch", 4, "past_length", 16)
    assert [name for name in decoder.outputs if "encoder" in name] == []
    stored = {initializer.name for initializer in onnx.load(encoder.path).graph.initializer}
    assert not [name for name in stored if "decoder" in name and "encoder_attn" not in name]


@pytest.mark.slow
def test_a_file_that_computes_something_else_is_not_kept(llama, tmp_path, monkeypatch):
    from fxprune.deploy.generation import writing
    from fxprune.deploy.onnx import LADDER

    other = writing.trials
    monkeypatch.setattr(writing, "trials", lambda model, *rest: other(model_of(LIBRARY["llama"], seed=1), *rest))
    monkeypatch.setattr(writing, "write_onnx", _one_rung(writing.write_onnx, LADDER[:1]))
    with pytest.raises(DeployError, match=r"outputs are .* away from PyTorch"):
        export_generation(llama[0], tmp_path / "onnx")
    assert list((tmp_path / "onnx").iterdir()) == []


def _one_rung(write, ladder):
    return lambda *args, **kwargs: write(*args, **{**kwargs, "ladder": ladder})


def test_models_without_such_a_cache_are_refused(tmp_path):
    encoder = model_of(LIBRARY["bert"])
    assert not remembers(encoder)
    assert not remembers(model_of(LIBRARY["mamba"]))
    with pytest.raises(UsageError, match="my-model has no key-value cache to export"):
        check_remembers(encoder, "my-model")
    speech = model_of(LIBRARY["whisper"])
    assert remembers(speech)
    with pytest.raises(NoCacheError, match="reads input_features"):
        export_generation(speech, tmp_path)
    assert list(tmp_path.iterdir()) == []
