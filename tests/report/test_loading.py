"""Code for readers to run: only what a file may safely say stands in it. `tests/cli/test_report.py` runs it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reporting import IDS

from fxprune.report.loading import loading_code
from fxprune.report.reading import read_results


def inputs(code: str) -> dict:
    """Run the lines that make the inputs."""
    lines = code.splitlines()
    start = lines.index("inputs = {")
    made = {"torch": torch, "np": np}
    exec("\n".join(lines[start : lines.index("}", start) + 1]), made)
    return made["inputs"]


def blocks(folder) -> dict[str, str]:
    return {block.caption: block.text for block in loading_code(read_results(folder))}


def test_images_boxes_and_switches_are_made(make):
    told = [
        {"name": "pixel_values", "shape": ["batch", 3, 24, 24], "dtype": "float32", "preprocessed": True},
        {"name": "boxes", "shape": ["batch", "length", 4], "dtype": "int64", "preprocessed": False},
        {"name": "seen", "shape": ["batch"], "dtype": "bool", "preprocessed": False},
        {"name": "return_dict", "value": True},
    ]
    found = blocks(make(inputs=told, longest=5))
    made = inputs(found["With PyTorch alone"])
    assert (made["pixel_values"].shape, made["pixel_values"].dtype) == ((2, 3, 24, 24), torch.float32)
    assert (made["boxes"].shape, made["boxes"].dtype) == ((2, 5, 4), torch.int64)
    assert made["seen"].tolist() == [True, True]
    assert made["return_dict"] is True
    arrays = inputs(found["With ONNX Runtime"])
    assert {name: (array.shape, str(array.dtype)) for name, array in arrays.items()} == {
        "pixel_values": ((2, 3, 24, 24), "float32"),
        "boxes": ((2, 5, 4), "int64"),
        "seen": ((2,), "bool"),
    }


def test_a_tokenizer_makes_what_it_can_and_the_rest_fits_it(make):
    types = {**IDS, "name": "token_type_ids", "preprocessed": False}
    decoder = {**IDS, "name": "decoder_input_ids", "shape": ["batch", "decoder_length"], "preprocessed": False}
    code = blocks(make(inputs=[IDS, types, decoder]))["With transformers"]
    assert '"input_ids": text["input_ids"],' in code
    assert '"token_type_ids": torch.zeros_like(text["input_ids"]),' in code
    assert '"decoder_input_ids": torch.ones(1, 8, dtype=torch.int64),' in code
    assert "AutoTokenizer" not in blocks(make({"tokenizer_config.json": None}))["With transformers"]


def test_forms_that_were_not_written_have_no_code(make):
    gone = {"student.pt2": None, "onnx/model.onnx": None}
    assert list(blocks(make(gone))) == ["With transformers"]
    assert list(blocks(make(hugging_face=None))) == ["With PyTorch alone", "With ONNX Runtime"]


@pytest.mark.parametrize(
    "item",
    [
        {"name": "x", "nested": True},
        {**IDS, "name": '"]); import os #'},
        {**IDS, "dtype": "int64); import os"},
        {**IDS, "shape": ["batch", "os.remove()"]},
        {"name": "x", "value": "__import__('os')"},
        {},
    ],
)
def test_inputs_that_code_cannot_name_have_no_code(make, item):
    assert blocks(make(inputs=[IDS, item])) == {}


def test_a_class_of_other_code_is_not_imported_from_the_library(make):
    assert "With transformers" not in blocks(make(class_of="transformers_modules"))


def test_a_class_must_be_a_name(make):
    assert "With transformers" not in blocks(make(hugging_face={"model_class": "x; import os"}))


@pytest.mark.parametrize("names", [["decoder_with_past.onnx"], ["encoder.onnx", "decoder.onnx"]])
def test_a_model_that_keeps_what_it_has_read_is_let_write(make, names):
    caption = "Writing, with a key-value cache in ONNX Runtime"
    files = {f"onnx/{name}": "o" for name in names}
    code = blocks(make(files))[caption]
    assert 'OnnxGenerator(".").generate([prompt]' in code
    compile(code, "", "exec")
    assert caption not in blocks(make({**files, "tokenizer_config.json": None}))
    assert caption not in blocks(make())
