"""The loop: where texts end, what fills them up, and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from generating import PROMPTS, build

from fxprune.deploy.generation.generator import OnnxGenerator
from fxprune.deploy.generation.settings import Settings, settings_of
from fxprune.errors import SourceError, UsageError


@pytest.fixture(scope="module")
def generator(llama):
    return OnnxGenerator(llama[1], 1)


@pytest.fixture
def using(generator, monkeypatch):
    """Changes settings for one test."""

    def change(**settings):
        monkeypatch.setattr(generator, "settings", replace(generator.settings, **settings))
        return generator

    return change


def test_a_row_does_not_depend_on_the_others(generator):
    assert generator.generate(PROMPTS, 5) == [generator.generate([prompt], 5)[0] for prompt in PROMPTS]


def test_a_text_ends_with_the_first_end_and_the_others_go_on(generator, using):
    free = generator.generate(PROMPTS, 8)
    end = free[0][3]
    made = using(ends=(end,)).generate(PROMPTS, 8)
    assert made[0] == free[0][: free[0].index(end) + 1]
    for row, whole in zip(made, free, strict=True):
        assert row == (whole[: whole.index(end) + 1] if end in whole else whole)


def test_the_last_token_may_be_given(using, generator):
    free = generator.generate(PROMPTS, 4)
    assert using(last=77).generate(PROMPTS, 4) == [[*row[:3], 77] for row in free]


def test_a_prompt_must_fit(using):
    small = using(positions=8)
    with pytest.raises(UsageError, match="a prompt has 9 tokens, the model has 8 positions"):
        small.generate([list(range(9))], 1)
    with pytest.raises(UsageError, match="5 new tokens do not fit") as caught:
        small.generate(PROMPTS, 5)
    assert "ask for 2 at most" in str(caught.value)
    assert all(len(row) == 2 for row in small.generate(PROMPTS, 2))
    with pytest.raises(UsageError, match="a prompt has no token"):
        small.generate([[5], []], 1)
    with pytest.raises(UsageError, match="cannot generate 0 tokens"):
        small.generate([[5]], 0)


def test_a_folder_without_the_files_says_how_to_make_them(tmp_path):
    with pytest.raises(SourceError, match="holds no ONNX files that generate") as caught:
        OnnxGenerator(tmp_path)
    assert "fxprune export --model MODEL --with-past" in str(caught.value)
    with pytest.raises(SourceError, match="there is no folder"):
        OnnxGenerator(tmp_path / "nowhere")


def test_damaged_settings_are_told(llama, tmp_path):
    folder = shutil.copytree(llama[1], tmp_path / "copy")
    (folder / "onnx" / "generation.json").write_text(json.dumps({"ends": [1], "strange": 1}))
    with pytest.raises(SourceError, match=r"generation.json' cannot be read"):
        OnnxGenerator(folder)


def test_a_damaged_graph_is_told(llama, tmp_path):
    folder = shutil.copytree(llama[1], tmp_path / "copy")
    (graph,) = folder.rglob("decoder_with_past.onnx")
    graph.write_bytes(b"no graph")
    with pytest.raises(SourceError, match="is no ONNX file"):
        OnnxGenerator(folder)


def test_settings_come_from_the_model(llama):
    model = llama[0]
    assert settings_of(model) == Settings(positions=128, ends=(), pad=0)
    pair = build("bart", eos_token_id=[2, 3], forced_bos_token_id=7, no_repeat_ngram_size=3)
    told = settings_of(pair)
    assert (told.start, told.first, told.ends, told.pad) == (2, 7, (2, 3), 1)
    assert told.unused == {"no_repeat_ngram_size": 3}
    assert Settings(**{**json.loads(told.to_json()), "ends": told.ends}) == told
