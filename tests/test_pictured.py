"""Vision-language models through the compiler: images in the place of tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from zoo import model_of
from zoo.cutting import difference
from zoo.pictured import PATCHES, PICTURED, PLACEHOLDER
from zoo.shipping import onnx_of, reload_error

import fxprune
from fxprune.deploy.generation.caches import NoCacheError
from fxprune.deploy.generation.writing import export_generation
from fxprune.errors import SourceError
from fxprune.examples import example_inputs
from fxprune.unread import unread_note

pytestmark = pytest.mark.captures

EXACT = 1e-5


@pytest.mark.parametrize("name", list(PICTURED))
def test_half_of_both_towers_goes_and_all_files_agree(name: str, tmp_path: Path) -> None:
    model, inputs = model_of(PICTURED[name]), PICTURED[name].inputs(3, 13)
    dense = fxprune.capture(model, inputs)
    assert difference(dense, model, inputs) < EXACT
    slim = fxprune.prune(dense, ratio=0.5, importance="magnitude", verify=True)
    widths = {text: tensor.shape for text, tensor in slim.state_dict().items() if text.endswith("q_proj.weight")}
    assert {tuple(shape) for shape in widths.values()} == {(32, 32), (16, 16)}  # of the text and of the images
    assert reload_error(model, slim, inputs, tmp_path / "saved") < EXACT
    assert onnx_of(slim, inputs, tmp_path).max_error < EXACT


@pytest.mark.parametrize("name", list(PICTURED))
def test_examples_have_the_tokens_of_an_image_in_each_row(name: str) -> None:
    model = model_of(PICTURED[name])
    found = example_inputs(model)
    assert ((found["input_ids"] == PLACEHOLDER).sum(1) == PATCHES).all()
    assert set(found) == set(PICTURED[name].inputs(2, 13))
    with torch.no_grad():
        model(**found)
    assert torch.equal(found["input_ids"], example_inputs(model)["input_ids"])


def test_images_in_another_form_are_refused() -> None:
    model = model_of(PICTURED["gemma3"])
    model.model.get_image_features = None  # type: ignore[union-attr, assignment]
    with pytest.raises(SourceError, match="no example images are known for Gemma3ForConditionalGeneration"):
        example_inputs(model)


def test_an_image_longer_than_the_text_may_be_is_refused() -> None:
    model = model_of(PICTURED["gemma3"])
    model.config.text_config.max_position_embeddings = 5  # type: ignore[union-attr]
    with pytest.raises(SourceError, match="an image takes 4 tokens, and a text has room for 3"):
        example_inputs(model)


def test_a_tower_without_its_inputs_is_named() -> None:
    model, inputs = model_of(PICTURED["idefics3"]), PICTURED["idefics3"].inputs(3, 13)
    assert unread_note(model, fxprune.capture(model, inputs)) is None
    del inputs["pixel_values"]
    text = fxprune.capture(model, inputs)
    lost = sum(p.numel() for name, p in model.named_parameters() if "vision_model" in name or "connector" in name)
    note = (
        f"{lost:,} of {sum(p.numel() for p in model.parameters()):,} parameters take no part in this call and are not"
    )
    assert unread_note(model, text) == f"{note} kept: model.connector, model.vision_model"
    assert unread_note(object(), text) is None


def test_no_loop_is_written_that_would_read_text_alone(tmp_path: Path) -> None:
    with pytest.raises(NoCacheError, match="Gemma3ForConditionalGeneration reads pixel_values"):
        export_generation(model_of(PICTURED["gemma3"]), tmp_path)
