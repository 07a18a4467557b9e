"""A .pt2 file gives back the same module: outputs at other shapes, and ties."""

from __future__ import annotations

import pytest
import torch

from fxprune.deploy.program import export_program
from fxprune.deploy.pt2 import load_pt2, store_program
from fxprune.errors import SourceError
from fxprune.shapes import second_shape


def saved(model, inputs, path):
    return store_program(export_program(model, inputs).program, path)


@pytest.mark.slow
def test_every_model_comes_back_with_free_shapes_and_ties(tiny, tmp_path):
    model = tiny.build()
    path = saved(model, tiny.inputs(), tmp_path / "student.pt2")
    loaded = load_pt2(path)
    other = second_shape(tiny.inputs())
    with torch.no_grad():
        torch.testing.assert_close(loaded(**other).logits, model(**other).logits)
    assert count(loaded) == count(model)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_a_tied_weight_trains_as_one(bert, tmp_path):
    loaded = load_pt2(saved(bert.build(), bert.inputs(), tmp_path / "student.pt2"))
    loaded(**bert.inputs()).logits.sum().backward()
    names = [name for name, _ in loaded.named_parameters(remove_duplicate=False)]
    assert len(names) == len(set(names))
    embedding = loaded.get_parameter("bert.embeddings.word_embeddings.weight")
    assert embedding.grad is not None
    assert [p for p in loaded.parameters() if p is embedding] == [embedding]


def test_a_missing_or_damaged_file_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="there is no file"):
        load_pt2(tmp_path / "none.pt2")
    (tmp_path / "bad.pt2").write_bytes(b"not an archive")
    with pytest.raises(SourceError, match="is no exported program"):
        load_pt2(tmp_path / "bad.pt2")


def test_a_failed_save_leaves_the_old_file(bert, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("disk on fire")

    (tmp_path / "student.pt2").write_text("old")
    monkeypatch.setattr(torch.export, "save", fail)
    with pytest.raises(Exception, match="disk on fire"):
        saved(bert.build(), bert.inputs(), tmp_path / "student.pt2")
    assert [file.name for file in tmp_path.iterdir()] == ["student.pt2"]
    assert (tmp_path / "student.pt2").read_text() == "old"
