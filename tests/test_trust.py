"""Pickles and code of a model's own are left alone unless the user vouches for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from models import _BERT as BERT

from fxprune.errors import SourceError
from fxprune.sources import load_model
from fxprune.trust import trust, trusting

CODE = """
from pathlib import Path
from transformers import BertConfig, BertModel
Path({spilled!r}).touch()
class OwnConfig(BertConfig):
    model_type = "own-kind"
class OwnModel(BertModel):
    config_class = OwnConfig
"""


class Spills:
    """A pickle that leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


def pickled(folder: Path, extra: object = None) -> Path:
    """A folder whose weights are a pickle."""
    model = transformers.BertModel(transformers.BertConfig(**BERT, architectures=["BertModel"]))
    model.config.save_pretrained(folder)
    torch.save({**model.state_dict(), **({} if extra is None else {"extra": extra})}, folder / "pytorch_model.bin")
    return folder


def test_pickled_weights_are_read_where_they_are_allowed(tmp_path: Path) -> None:
    folder = str(pickled(tmp_path))
    with pytest.raises(SourceError, match="--allow-pickle reads the tensors"):
        load_model(folder)
    with trusting(pickles=True):
        assert load_model(folder).model.config.hidden_size == BERT["hidden_size"]


def test_a_pickle_of_more_than_tensors_is_refused_even_then(tmp_path: Path) -> None:
    folder = pickled(tmp_path, Spills(tmp_path / "spilled"))
    with trusting(pickles=True), pytest.raises(SourceError, match=r"the weights of model '.*' cannot be read"):
        load_model(str(folder))
    assert not (tmp_path / "spilled").exists()


def own_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose classes are in a file beside the weights."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(folder / "cache"))
    model = transformers.BertModel(transformers.BertConfig(**BERT))
    model.save_pretrained(folder)
    (folder / "own.py").write_text(CODE.format(spilled=str(folder / "spilled")))
    config = json.loads((folder / "config.json").read_text())
    names = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    (folder / "config.json").write_text(
        json.dumps({**config, "model_type": "own-kind", "architectures": ["OwnModel"], "auto_map": names})
    )
    return folder


def test_code_beside_the_weights_runs_where_it_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = own_code(tmp_path, monkeypatch)
    with pytest.raises(SourceError, match=r"brings Python code of its own, and nothing of it was run\n.*--trust-rem"):
        load_model(str(folder))
    assert not (folder / "spilled").exists()
    with trusting(code=True):
        assert type(load_model(str(folder)).model).__name__ == "OwnModel"
    assert (folder / "spilled").exists()


def test_trust_ends_with_its_block() -> None:
    with trusting(pickles=True, code=True):
        assert (trust().pickles, trust().code) == (True, True)
    assert (trust().pickles, trust().code) == (False, False)
