"""Sixty ways to be misunderstood: each ends with its exit code and one sentence, and changes nothing on disk."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

TO = ("--target-params", "50%")
TRAIN = ("--dataset", "text.txt", *TO, "--no-latency", "--max-steps", "4", "--batch-size", "2", "--length", "8")
CUT = ("--ratio", "0.5", "--no-latency")

# what is asked, and what is said; BERT stands for a folder of a tiny model
ROWS = [
    # ------------------------------------------------------------------ models
    (("prune", "MISSING/", *CUT), "there is no model folder 'MISSING/'"),
    (("prune", "text.txt", *CUT), "model 'text.txt' is a file"),
    (("prune", "empty", *CUT), "folder 'empty' has no config.json"),
    (("prune", "no-weights", *CUT), "folder 'no-weights' has no weights"),
    (("prune", "pickled", *CUT), "the weights in 'pickled' are pickled (pytorch_model.bin)"),
    (("prune", "pickled", *CUT, "--allow-pickle"), "the weights of model 'pickled' cannot be read"),
    (("prune", "own-code", *CUT), "model 'own-code' brings Python code of its own, and nothing of it was run"),
    (("prune", "strange", *CUT), "the config of model 'strange' cannot be read"),
    (("prune", "unknown-class", *CUT), "is a NoSuchModel, which transformers"),
    (("prune", "other-weights", *CUT), "the weights of model 'other-weights'"),
    (("prune", "torn", *CUT), "the weights of model 'torn' cannot be read"),
    (("prune", "missing.pt2", *CUT), "there is no file missing.pt2"),
    (("prune", "text.pt2", *CUT), "text.pt2 is no exported program"),
    (("prune", "zip.pt2", *CUT), "zip.pt2 is no exported program"),
    (("prune", "bomb.pt2", *CUT), "bomb.pt2 is not read"),
    (("prune", "library.pt2", *CUT), "library.pt2 is not read"),
    (("prune", "BERT", "--model", "BERT", *CUT), "two models were given"),
    (("prune", *CUT), "no model was given"),
    # ------------------------------------------------------------------ targets
    (("prune", "BERT"), "give one of --target-params"),
    (("prune", "BERT", *TO, *CUT), "give one of --target-params"),
    (("prune", "BERT", "--target-params", "many"), "many"),
    (("prune", "BERT", "--target-params", "-5M"), "-5M"),
    (("prune", "BERT", "--target-params", "0"), "0"),
    (("prune", "BERT", "--target-params", "900M"), "900"),
    (("prune", "BERT", "--target-params", "1"), "smallest"),
    (("prune", "BERT", "--ratio", "1.5"), "1.5"),
    (("prune", "BERT", "--ratio", "nan"), "nan"),
    (("prune", "BERT", *TO, "--round-to", "0"), "0"),
    (("prune", "BERT", *TO, "--round-to", "4096"), "no group can be rounded to a multiple of 4096"),
    (("prune", "BERT", *TO, "--min-keep", "0.5"), "min_keep is the floor of a global allocation"),
    (("prune", "BERT", *TO, "--allocation", "best"), "'best' is not one of"),
    (("prune", "BERT", "--ratio", "0.5", "--allocation", "global"), "a ratio is the same in every matrix"),
    (("prune", "BERT", *TO, "--importance", "loudness"), "'loudness' is not one of"),
    # ------------------------------------------------------------------ plans
    (("prune", "BERT", "--plan", "missing.json"), "cannot read plan 'missing.json'"),
    (("prune", "BERT", "--plan", "text.txt"), "the text is no plan"),
    (("prune", "BERT", "--plan", "deep.json"), "the text is no plan"),
    (("prune", "BERT", "--plan", "huge.json"), "has 1000000000000000 units"),
    (("prune", "BERT", "--plan", "newer.json"), "plan version 99 is unknown"),
    (("prune", "BERT", "--plan", "foreign.json"), "the plan belongs to another model"),
    # ------------------------------------------------------------------ data
    (("distill", "BERT", *TRAIN, "--dataset", "missing.txt"), "there is no file 'missing.txt'"),
    (("distill", "BERT", *TRAIN, "--dataset", "image.tiff"), "is a file of unknown kind"),
    (("distill", "BERT", *TRAIN, "--dataset", "empty"), "folder 'empty' has no data files"),
    (("distill", "BERT", *TRAIN, "--dataset", "blank.txt"), "blank.txt"),
    (("distill", "BERT", *TRAIN, "--dataset", "broken.parquet"), "broken.parquet"),
    (("distill", "BERT", *TRAIN, "--dataset", "numbers.jsonl"), "numbers.jsonl"),
    (("distill", "BERT", *TRAIN, "--text-column", "words"), "words"),
    # ------------------------------------------------------------------ runs
    (("distill", "BERT", *TRAIN, "--max-steps", "0"), "0"),
    (("distill", "BERT", *TRAIN, "--length", "4"), "a length of 4 tokens is too short"),
    (("distill", "BERT", *TRAIN, "--start", "0.6", "--end", "0.5"), "0.6"),
    (("distill", "BERT", *TRAIN, "--learning-rate", "-1"), "the learning rate -1.0 is not positive"),
    (("distill", "BERT", *TRAIN, "--loss-weight", "kll=1"), "did you mean 'kl'?"),
    (("distill", "BERT", *TRAIN, "--loss-weight", "kl=much"), "'kl=much' has no number"),
    (("distill", "BERT", *TRAIN, "--importance", "sensitivty"), "did you mean 'sensitivity'?"),
    (("distill", "BERT", *TRAIN, "--objective", "rhyme"), "'rhyme' is not one of"),
    (("distill", "BERT", *TRAIN, "--log-with", "stone"), "stone"),
    (("distill", "BERT", *TRAIN, "--device", "toaster"), "toaster"),
    (("distill", "BERT", *TRAIN, "--recipe", "homobert-tinny"), "did you mean 'homobert-tiny'"),
    (("distill", "BERT", *TRAIN, "--recipe", "bomb.yaml"), "it holds references"),
    (("distill", "BERT", *TRAIN, "--recipe", "typo.yaml"), "did you mean 'max_steps'?"),
    (("distill", "BERT", *TRAIN, "--snapshots", "big,small"), "big"),
    (("distill", "BERT", *TRAIN, "--output", "BERT"), "is the folder of the model itself"),
    (("distill", "BERT", *TRAIN, "--output", "full"), "output folder 'full' is not empty"),
    (("distill", "BERT", *TRAIN, "--output", "text.txt"), "text.txt"),
    # ------------------------------------------------------------------ the other commands
    (("evaluate", "BERT", "--task", "poetry"), "'poetry' is not one of"),
    (("evaluate", "BERT", "--task", "sst2", "--data", "empty"), "empty"),
    (("explain", "BERT", "no.such.weight:0"), "no.such.weight"),
    (("explain", "BERT"), "no axes were given"),
    (("export", "BERT", "--output", "text.txt"), "'text.txt' exists"),
    (("bench", "missing.onnx"), "there is no ONNX file 'missing.onnx'"),
    (("bench", "text.onnx"), "'text.onnx' is no ONNX file"),
    (("bench", "outside.onnx"), "outside its folder"),
    (("bench", "BERT", "--grid", "1x"), "'1x' is no grid"),
    (("inspekt", "BERT"), "inspekt"),
]
FAR = 10**15


@pytest.fixture
def files(here: Path, own_bert: Path, text: str) -> Path:
    """All that the rows name, good and bad."""
    config = json.loads((own_bert / "config.json").read_text())
    folders = {
        "no-weights": config,
        "pickled": config,
        "torn": config,
        "strange": {"model_type": "no-such-type"},
        "unknown-class": {**config, "architectures": ["NoSuchModel"]},
        "other-weights": {**config, "num_hidden_layers": 2},
        "own-code": {"model_type": "own", "architectures": ["Own"], "auto_map": {"AutoConfig": "own.C"}},
    }
    for name, content in folders.items():
        (here / name).mkdir()
        (here / name / "config.json").write_text(json.dumps(content))
    for name in ("strange", "unknown-class", "own-code"):
        shutil.copy(own_bert / "model.safetensors", here / name)
    (here / "own-code" / "own.py").write_text("open('spilled', 'w')")
    (here / "pickled" / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch spilled'\ntR.")
    (here / "torn" / "model.safetensors").write_bytes((own_bert / "model.safetensors").read_bytes()[:-9])
    save_file({"x": torch.ones(1)}, here / "other-weights" / "model.safetensors")
    (here / "empty").mkdir()
    (here / "full").mkdir()
    (here / "full" / "mine.txt").touch()
    with zipfile.ZipFile(here / "zip.pt2", "w") as archive:
        archive.writestr("hello.txt", "no program")
    with zipfile.ZipFile(here / "bomb.pt2", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/models/model.json", "[" + "0," * 10_000 + "0]")
    with zipfile.ZipFile(here / "library.pt2", "w") as archive:
        archive.writestr("m/data/aotinductor/model/code.so", "elf")
    entry = {"format": "fxprune plan", "version": 1, "model": "0", "groups": {}, "tensors": {}}
    group = {"name": "g", "size": FAR, "keep": [0]}
    texts = {
        "deep.json": "[" * 50_000,
        "huge.json": json.dumps({**entry, "groups": {"g0": group}}),
        "newer.json": json.dumps({**entry, "version": 99}),
        "foreign.json": json.dumps(entry),
        "blank.txt": "\n\n",
        "broken.parquet": "no parquet",
        "image.tiff": "II",
        "numbers.jsonl": '{"n": 1}\n' * 50,
        "bomb.yaml": "a: &a [x, x]\nb: [*a, *a]",
        "typo.yaml": "max_stps: 3",
        "text.pt2": "no program",
        "text.onnx": "no graph",
    }
    for name, content in texts.items():
        (here / name).write_text(content)
    (here / "outside.onnx").write_bytes(_outside())
    return here


def _outside() -> bytes:
    import onnx
    from onnx import TensorProto, helper

    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    weight.ClearField("float_data")
    onnx.external_data_helper.set_external_data(_raw(weight), "../../secret")
    weight.data_location = TensorProto.EXTERNAL
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [y], [weight])
    return bytes(helper.make_model(graph).SerializeToString())


def _raw(weight: object) -> object:
    weight.raw_data = b"\0\0\0\0"  # type: ignore[attr-defined]
    return weight


@pytest.mark.parametrize(("arguments", "said"), ROWS, ids=[f"{i}-{row[0][0]}" for i, row in enumerate(ROWS)])
def test_it_is_told_in_one_sentence_and_nothing_is_changed(refused, files, arguments, said):
    told = refused(*("model" if word == "BERT" else word for word in arguments))
    assert said in told
    assert len(told.splitlines()) <= 12, told
    assert not (files / "spilled").exists()


def test_there_are_enough_of_them():
    assert len(ROWS) >= 60
    assert len({row[0] for row in ROWS}) == len(ROWS)
