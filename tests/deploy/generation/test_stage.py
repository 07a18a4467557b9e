"""What an output folder says of generation: files, or the reason why there are none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fxprune.deploy.generation import stage
from fxprune.deploy.generation.caches import NoCacheError
from fxprune.deploy.generation.stage import generation_facts, write_generation
from fxprune.errors import DeployError


def test_a_student_no_class_can_load_has_no_cache(tmp_path):
    with pytest.raises(DeployError, match="no config of it expresses the student") as caught:
        write_generation(None, tmp_path)
    assert "onnx/model.onnx" in str(caught.value)


def test_a_model_with_another_memory_is_a_fact_and_no_failure(tmp_path, monkeypatch):
    def refuse(*_):
        raise NoCacheError("the model keeps more", cause="layer 0 of its cache is a LinearAttentionLayer")

    monkeypatch.setattr(stage, "load_model", lambda name: SimpleNamespace(model=None))
    monkeypatch.setattr(stage, "export_generation", refuse)
    written, reason = write_generation(SimpleNamespace(), tmp_path)
    assert written is None
    assert "layer 0 of its cache is a LinearAttentionLayer" in generation_facts(written, reason)["not_written"]


def test_the_facts_name_files_and_rungs(llama):
    facts = generation_facts(llama[2])
    assert facts["files"] == ["generation.json", "decoder_with_past.onnx"]
    assert facts["rungs"] == {"decoder_with_past.onnx": llama[2].graphs["decoder_with_past.onnx"].rung}
