"""Inputs out of what an ONNX file declares."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fxprune.deploy.made_up import has_length, made_up
from fxprune.errors import SourceError

INPUTS = [
    ("input_ids", "tensor(int64)", ["batch", "sequence_length"]),
    ("attention_mask", "tensor(int64)", ["batch", "past_length + sequence_length"]),
    ("token_type_ids", "tensor(int32)", ["batch", "sequence_length"]),
    ("position_ids", "tensor(int64)", [None, None]),
    ("past.0.key", "tensor(float)", ["batch", 2, "past_length", 8]),
    ("pixels", "tensor(float16)", ["n", 3, 4, 4]),
]


def session(inputs=INPUTS):
    values = [SimpleNamespace(name=name, type=kind, shape=shape) for name, kind, shape in inputs]
    return SimpleNamespace(get_inputs=lambda: values)


def test_names_say_what_a_free_size_is():
    found = made_up(session(), {"input_ids": 7}, 3, 5)
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == {
        "input_ids": (3, 5),
        "attention_mask": (3, 5),
        "token_type_ids": (3, 5),
        "position_ids": (3, 5),
        "past.0.key": (3, 2, 0, 8),
        "pixels": (3, 3, 4, 4),
    }
    assert {str(tensor.dtype) for tensor in found.values()} >= {"torch.int64", "torch.int32", "torch.float16"}
    assert int(found["input_ids"].max()) < 7
    assert found["position_ids"][2].tolist() == [0, 1, 2, 3, 4]
    assert not found["token_type_ids"].any()
    assert found["attention_mask"].all()


def test_ragged_masks_hide_one_position_more_in_each_row():
    assert made_up(session(), {}, 3, 5, ragged=True)["attention_mask"].sum(1).tolist() == [5, 4, 3]


def test_images_have_no_length():
    assert has_length(session())
    assert not has_length(session(INPUTS[-1:]))


def test_a_kind_nobody_can_make_up_is_refused():
    with pytest.raises(SourceError, match="the input 'x' is of an unknown kind, tensor\\(string\\)"):
        made_up(session([("x", "tensor(string)", ["batch"])]), {}, 1, 1)
