"""Each kind of model is distilled from the command line, and what is written loads without fxprune."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

OPTIONS = ("--no-latency", "--max-steps", 2, "--batch-size", 4, "--length", 16, "--target-params", "50%", "--json")


def sentence(i: int) -> str:
    return " ".join(f"w{(i * 7 + j * j) % 60}" for j in range(4 + i % 5))


def distilled(run, folder: Path, *arguments: object) -> dict:
    result = run("distill", folder, *arguments, *OPTIONS)
    assert result.exit_code == 0, result.stderr + str(result.exception)
    told = json.loads(result.stdout)
    assert told["failures"] == {}
    assert told["onnx"]["max_error"] < 1e-4
    assert told["hugging_face"]["max_error"] < 1e-4
    return told


def test_a_classifier_learns_from_a_labelled_parquet(run, heads, here):
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification

    rows = {"sentence": [sentence(i) for i in range(60)], "label": ["good" if i % 2 else "bad" for i in range(60)]}
    Dataset.from_dict(rows).to_parquet(here / "rows.parquet")
    told = distilled(run, heads / "classes", "--dataset", "rows.parquet")
    assert told["objective"] == "sequence classification"
    assert set(told["losses"]["teacher"]) == {"task", "accuracy"}
    loaded = AutoModelForSequenceClassification.from_pretrained("out")
    assert loaded.config.id2label == {0: "bad", 1: "good"}
    assert loaded.num_parameters() == told["params"]["student"]


@pytest.mark.slow
def test_an_encoder_decoder_learns_from_pairs(run, heads, here):
    from transformers import AutoModelForSeq2SeqLM

    rows = [{"first": sentence(i), "second": sentence(i + 1)} for i in range(60)]
    (here / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    columns = ("--text-column", "first", "--target-column", "second")
    told = distilled(run, heads / "translation", "--dataset", "pairs.jsonl", *columns)
    assert told["objective"] == "sequence to sequence"
    assert {"onnx/encoder.onnx", "onnx/decoder.onnx"} <= {
        Path(file).relative_to("out").as_posix() for file in told["files"]
    }
    assert told["generation"]["max_error"] <= 1e-4
    assert AutoModelForSeq2SeqLM.from_pretrained("out").num_parameters() == told["params"]["student"]


@pytest.mark.slow
def test_an_image_classifier_learns_from_a_folder_of_images(run, heads, here):
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    draw = np.random.default_rng(0)
    for i in range(12):
        place = here / "images" / ("cat", "dog")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 255, (30, 20, 3), dtype=np.uint8)).save(place / f"{i}.png")
    told = distilled(run, heads / "images", "--dataset", "images")
    assert told["objective"] == "image classification"
    assert AutoModelForImageClassification.from_pretrained("out").num_parameters() == told["params"]["student"]
    assert AutoImageProcessor.from_pretrained("out").size == {"height": 24, "width": 24}


@pytest.mark.slow
def test_features_alone_may_be_chosen(run, bert, text):
    result = run("distill", bert, "--dataset", text, "--objective", "features", *OPTIONS)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["objective"] == "features"


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("classes", ("--objective", "masked-lm"), "the objective 'masked-lm' does not fit the model"),
        ("classes", ("--target-column", "lable"), "unknown target column 'lable'; did you mean 'label'"),
        ("classes", (), "has the label 7, and the model has 2 classes"),
        ("translation", (), "no columns of source and target that are clear"),
        ("images", (), "has no image column"),
        (
            "classes",
            (
                "--loss-weight",
                "task=0",
                "--loss-weight",
                "kl=0",
                *[part for name in ("hidden", "embedding", "attention") for part in ("--loss-weight", f"{name}=0")],
            ),
            "all loss weights are zero",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_one_sentence(run, heads, here, name, options, complaint):
    texts = ("a", "b") if name == "translation" else ("sentence",)
    rows = [{column: sentence(i) for column in texts} | {"label": 7} for i in range(9)]
    (here / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result = run("distill", heads / name, "--dataset", "rows.jsonl", *options, *OPTIONS)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert complaint in result.stderr
    assert "remedy" in result.stderr or "did you mean" in result.stderr
    assert not Path("out").exists()


def test_a_processor_that_cannot_be_read_is_told(run, heads, here):
    folder = shutil.copytree(heads / "images", here / "model")
    (folder / "preprocessor_config.json").write_text("{")
    (here / "rows.jsonl").write_text(json.dumps({"text": "w1"}))
    result = run("distill", folder, "--dataset", "rows.jsonl", *OPTIONS)
    assert result.exit_code == 2
    assert "the image processor of model" in result.stderr
    assert "remedy" in result.stderr
