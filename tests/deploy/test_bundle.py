"""A saved model is a plan, a graph and an ordinary Hugging Face model, and all three are the same model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from torch import nn

import fxprune
from fxprune.errors import SourceError

WITHOUT_FXPRUNE = """
import sys
sys.modules["fxprune"] = None  # import fxprune now raises
import torch, transformers
folder = sys.argv[1]
for name in sys.argv[2:]:
    case = torch.load(f"{folder}/{name}.pt")
    model = getattr(transformers, case["auto"]).from_pretrained(f"{folder}/{name}").eval()
    with torch.no_grad():
        torch.testing.assert_close(model(**case["inputs"]).logits, case["logits"], rtol=1e-4, atol=1e-5)
    print(name, type(model).__name__)
"""
TORCH_ALONE = """
import sys, torch
sys.modules["fxprune"] = sys.modules["transformers"] = None
program = torch.export.load(sys.argv[1])
print(sorted(program.module(check_guards=False)(**program.example_inputs[1])))
"""
AUTO = {
    "MaskedLM": "AutoModelForMaskedLM",
    "LMHeadModel": "AutoModelForCausalLM",
    "CausalLM": "AutoModelForCausalLM",
    "ConditionalGeneration": "AutoModelForSeq2SeqLM",
    "ImageClassification": "AutoModelForImageClassification",
}


@pytest.fixture(scope="module")
def saved(slim_bert, tmp_path_factory) -> Path:
    """The folder of the slim model, for tests that only read it."""
    return slim_bert[0].save(tmp_path_factory.mktemp("saved") / "out")


def run(code: str, *arguments: object) -> str:
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_a_loaded_model_is_the_saved_one(slim_bert, saved):
    model, inputs = slim_bert
    loaded = fxprune.load(saved)
    got, want = loaded(**inputs), model(**inputs)
    assert torch.equal(got.logits, want.logits)
    assert type(got) is type(want)
    assert loaded.plan == model.plan
    assert loaded.num_parameters() == model.num_parameters()
    assert not loaded.training


def test_ties_survive(slim_bert, saved):
    _, inputs = slim_bert
    loaded = fxprune.load(saved)
    embedding = loaded.get_parameter("bert.embeddings.word_embeddings.weight")
    assert loaded.get_parameter("cls.predictions.decoder.weight") is embedding
    loaded(**inputs).logits.sum().backward()
    assert embedding.grad is not None


def test_a_loaded_model_runs_at_other_shapes_and_can_be_analysed_and_saved_again(slim_bert, saved, tmp_path):
    model, inputs = slim_bert
    loaded = fxprune.load(saved)
    other = {name: value[:2, :7] for name, value in inputs.items()}
    torch.testing.assert_close(loaded(**other).logits, model(**other).logits)
    sizes = {group.name: group.size for group in fxprune.analyse(loaded)}
    assert sizes == {group.name: group.size for group in fxprune.analyse(model)}
    again = fxprune.load(loaded.save(tmp_path))
    assert torch.equal(again(**inputs).logits, model(**inputs).logits)


def test_the_folder_lists_what_it_holds(saved):
    listed = json.loads((saved / "fxprune.json").read_text())
    assert listed["files"] == ["config.json", "model.safetensors", "plan.json", "student.pt2"]
    assert names(saved) == {*listed["files"], "fxprune.json"}
    assert listed["hugging_face"]["proved"]
    assert listed["hugging_face"]["changed"] == {"hidden_size": [32, 16], "intermediate_size": [72, 36]}


def test_saving_again_removes_what_is_no_longer_true_and_nothing_else(slim_bert, saved, tmp_path):
    folder = Path(shutil.copytree(saved, tmp_path / "out"))
    for name in ("certificate.json", "notes.txt"):
        (folder / name).write_text("old")
    listed = json.loads((folder / "fxprune.json").read_text())
    listed["files"].append("certificate.json")
    (folder / "fxprune.json").write_text(json.dumps(listed))
    slim_bert[0].save(folder)
    assert names(folder) == {*names(saved), "notes.txt"}
    assert (folder / "notes.txt").read_text() == "old"


def test_the_graph_loads_with_torch_alone(saved):
    assert run(TORCH_ALONE, saved / "student.pt2").strip() == "['logits']"


def test_without_the_list_outputs_are_dictionaries(slim_bert, saved, tmp_path):
    model, inputs = slim_bert
    shutil.copy(saved / "student.pt2", tmp_path)
    got = fxprune.load(tmp_path)(**inputs)
    assert type(got) is dict
    assert torch.equal(got["logits"], model(**inputs).logits)


def test_a_failed_save_leaves_the_old_model(slim_bert, saved, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(saved, tmp_path / "out"))

    def fail(*_):
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(torch.export, "save", fail)
    with pytest.raises(fxprune.FxpruneError, match="cannot be stored"):
        slim_bert[0].save(folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        file.name: file.read_bytes() for file in saved.iterdir()
    }


def test_a_folder_without_a_model_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="holds no model that fxprune saved") as refusal:
        fxprune.load(tmp_path)
    assert refusal.value.cause == "there is no student.pt2"
    with pytest.raises(SourceError) as refusal:
        fxprune.load(tmp_path / "none")
    assert refusal.value.cause == "there is no such folder"
    (tmp_path / "student.pt2").write_text("nonsense")
    with pytest.raises(SourceError, match="is no exported program"):
        fxprune.load(tmp_path)


class Plain(nn.Module):
    """Two layers of nobody's library."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(6, 12), nn.Linear(12, 6)

    def forward(self, x):
        return self.down(self.up(x).relu())


def test_a_module_of_no_library_is_saved_without_a_hugging_face_model(tmp_path):
    example = {"x": torch.randn(5, 6)}
    model = fxprune.prune(Plain(), example, ratio=0.5)
    loaded = fxprune.load(model.save(tmp_path))
    assert torch.equal(loaded(**example), model(**example))
    assert names(tmp_path) == {"plan.json", "student.pt2", "fxprune.json"}
    assert "failures" not in json.loads((tmp_path / "fxprune.json").read_text())


def test_widths_no_config_expresses_keep_the_graph_and_say_why(slim_bert, bert, tmp_path):
    model, inputs = bert.build(), bert.inputs()
    plan = json.loads(slim_bert[0].plan.to_json())
    entry = next(e for e in plan["groups"].values() if e["name"] == "bert.encoder.layer.1.inner")
    entry["keep"] = entry["keep"][:-1]  # one layer narrower than the other
    odd = fxprune.prune(model, inputs, plan=fxprune.Plan.from_json(json.dumps(plan)))
    odd.save(tmp_path)
    reason = json.loads((tmp_path / "fxprune.json").read_text())["failures"]["hugging_face"]
    assert "no config of BertForMaskedLM" in reason
    assert "config.json" not in names(tmp_path)
    assert torch.equal(fxprune.load(tmp_path)(**inputs).logits, odd(**inputs).logits)


def test_parameters_no_output_depends_on_are_fresh_and_named(tmp_path):
    config = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "image_size": 24, "patch_size": 8}
    model = transformers.Dinov2Model(transformers.Dinov2Config(**config)).eval()
    inputs = {"pixel_values": torch.randn(5, 3, 24, 24)}
    slim = fxprune.prune(model, inputs, ratio=0.5, free_outputs=True)
    slim.save(tmp_path)
    listed = json.loads((tmp_path / "fxprune.json").read_text())
    assert listed["hugging_face"]["fresh"] == ["embeddings.mask_token"]  # only masked pre-training reads it
    again = transformers.Dinov2Model.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(**inputs).last_hidden_state, slim(**inputs).last_hidden_state)


@pytest.mark.slow
@pytest.mark.parametrize("target", [{"ratio": 0.5}, {"target_params": "40%"}], ids=str)
def test_nine_architectures_load_with_their_auto_class_and_without_fxprune(all_tiny, target, tmp_path):
    for tiny in all_tiny:
        model, inputs = tiny.build(), tiny.inputs()
        slim = fxprune.prune(model, inputs, **target)
        listed = json.loads((slim.save(tmp_path / tiny.name) / "fxprune.json").read_text())
        assert listed.get("hugging_face", listed)["proved"], tiny.name
        auto = next(auto for ending, auto in AUTO.items() if tiny.name.endswith(ending))
        with torch.no_grad():
            case = {"auto": auto, "inputs": inputs, "logits": slim(**inputs).logits}
        torch.save(case, tmp_path / f"{tiny.name}.pt")
    want = [f"{tiny.name} {tiny.name}" for tiny in all_tiny]
    assert run(WITHOUT_FXPRUNE, tmp_path, *[tiny.name for tiny in all_tiny]).splitlines() == want
