"""What ranges and repairs are calibrated on: text, labelled rows or images, as the model takes them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.captures


@pytest.fixture
def images(here):
    from PIL import Image

    draw = np.random.default_rng(0)
    for i in range(40):
        place = here / "images" / ("cat", "dog")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 255, (30, 20, 3), dtype=np.uint8)).save(place / f"{i}.png")
    return "images"


@pytest.mark.parametrize("head", ["classes", pytest.param("translation", marks=pytest.mark.slow), "images"])
def test_static_int8_reads_what_the_model_takes(run, heads, text, images, head):
    data = images if head == "images" else text
    options = ("--int8", "static", "--dataset", data, "--calibration-batches", 2, "--output", "o.onnx", "--json")
    result = run("export", heads / head, *options)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["mode"], told["left_in_float32"]) == ("static", 0)
    assert told["cosine"] > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("head", ["translation", "images"])
def test_a_repair_reads_what_the_model_takes(run, heads, text, images, head):
    data = images if head == "images" else text
    options = ("--repair", "least-squares", "--repair-batches", 2, "--no-latency", "--output", "out")
    result = run("prune", heads / head, "--ratio", 0.3, "--dataset", data, *options)
    assert result.exit_code == 0, result.output
    own = {"translation": "tokenizer.json", "images": "preprocessor_config.json"}[head]
    assert Path("out", own).is_file()


def test_an_image_model_does_not_read_text(run, heads, text):
    result = run("export", heads / "images", "--int8", "static", "--dataset", text, "--output", "o.onnx")
    assert result.exit_code == 2
    assert "has no image column" in result.stderr
    assert not Path("o.onnx").exists()
