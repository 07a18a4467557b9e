"""Free dimensions are found from the examples, and examples can be made at other sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim

from fxprune.shapes import dynamic_shapes, refined, relaxed, resized, second_shape

IDS = torch.arange(5 * 13).reshape(5, 13)
MASK = torch.ones(5, 13, dtype=torch.int64)


def names(spec):
    return spec and {axis: dim.__name__ for axis, dim in spec.items()}


def test_text_is_free_in_batch_and_length():
    dims = dynamic_shapes({"input_ids": IDS, "attention_mask": MASK})
    assert [names(spec) for spec in dims.values()] == [{0: "batch", 1: "length"}] * 2


def test_an_encoder_decoder_has_two_lengths():
    dims = dynamic_shapes({"input_ids": IDS, "decoder_input_ids": IDS[:, :11], "decoder_attention_mask": MASK[:, :11]})
    assert names(dims["input_ids"]) == {0: "batch", 1: "length"}
    assert (
        names(dims["decoder_input_ids"]) == names(dims["decoder_attention_mask"]) == {0: "batch", 1: "decoder_length"}
    )


def test_images_are_free_in_the_batch_only():
    dims = dynamic_shapes({"pixel_values": torch.rand(5, 3, 13, 13), "input_ids": IDS})
    assert names(dims["pixel_values"]) == {0: "batch"}


def test_a_later_axis_of_the_same_length_follows_it_and_others_do_not():
    boxes, flags = torch.ones(5, 13, 4, dtype=torch.int64), torch.ones(5, 9, dtype=torch.bool)
    dims = dynamic_shapes({"input_ids": IDS, "bbox": boxes, "bool_masked_pos": flags})
    assert (names(dims["bbox"]), names(dims["bool_masked_pos"])) == ({0: "batch", 1: "length"}, {0: "batch"})


def test_what_is_no_tensor_or_has_another_first_size_is_not_free():
    dims = dynamic_shapes(
        {"input_ids": IDS, "return_dict": True, "table": torch.ones(3, 7), "scale": torch.tensor(1.0)}
    )
    assert (dims["return_dict"], dims["table"], dims["scale"]) == (None, None, None)


def test_nested_arguments_keep_their_structure():
    dims = dynamic_shapes({"input_ids": IDS, "encoder": {"states": (torch.rand(5, 13, 8), None)}})
    assert names(dims["encoder"]["states"][0]) == {0: "batch", 1: "length"}
    assert dims["encoder"]["states"][1] is None


def test_bounds_reach_the_dimensions():
    dims = dynamic_shapes({"input_ids": IDS}, max_batch=64, max_length=512)
    assert (dims["input_ids"][0].max, dims["input_ids"][1].max) == (64, 512)


@pytest.mark.parametrize("replacement", [Dim.AUTO, None])
def test_relaxed_keeps_the_batch(replacement):
    dims = relaxed(dynamic_shapes({"input_ids": IDS, "nested": [IDS]}), replacement)
    for spec in (dims["input_ids"], dims["nested"][0]):
        assert (spec[0].__name__, spec[1]) == ("batch", replacement)


class Positions(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.rand(64))

    def forward(self, input_ids):
        return input_ids + self.table[: input_ids.shape[1]]


def test_a_refusal_of_export_refines_the_bounds():
    dims = dynamic_shapes({"input_ids": IDS})
    with pytest.raises(Exception, match="Suggested fixes") as refusal:
        torch.export.export(Positions(), (), {"input_ids": IDS}, dynamic_shapes=dims, strict=False)
    better = refined(dims, refusal.value)
    assert better["input_ids"][1].max == 64
    torch.export.export(Positions(), (), {"input_ids": IDS}, dynamic_shapes=better, strict=False)
    assert refined(dims, RuntimeError("something else")) is None


def test_resized_draws_from_the_examples():
    boxes = torch.randint(7, 9, (5, 13, 4))
    new = resized({"input_ids": IDS, "bbox": boxes, "pixel_values": torch.rand(5, 3, 8, 8), "flag": True}, 7, 19)
    assert {name: tuple(value.shape) for name, value in new.items() if name != "flag"} == {
        "input_ids": (7, 19),
        "bbox": (7, 19, 4),
        "pixel_values": (7, 3, 8, 8),
    }
    assert new["input_ids"].max() <= IDS.max()
    assert set(new["bbox"].unique().tolist()) == {7, 8}
    assert new["flag"] is True
    assert len(new["input_ids"].unique(dim=0)) == 7


def test_resized_masks_are_ragged_at_the_padded_side():
    right = resized({"input_ids": IDS, "attention_mask": MASK}, 3, 6)["attention_mask"]
    assert right.tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0]]
    left_padded = MASK.clone()
    left_padded[0, :4] = 0
    left = resized({"input_ids": IDS, "attention_mask": left_padded}, 3, 6)["attention_mask"]
    assert left.tolist() == right.flip(1).tolist()
    assert resized({"input_ids": IDS, "attention_mask": MASK}, 9, 2)["attention_mask"].sum(1).min() == 1


def test_resized_positions_go_on_counting():
    positions = torch.arange(2, 15).repeat(5, 1)
    assert resized({"position_ids": positions}, 2, 4)["position_ids"].tolist() == [[2, 3, 4, 5]] * 2


def test_resized_keeps_the_proportion_of_the_decoder():
    new = resized({"input_ids": IDS[:, :12], "decoder_input_ids": IDS[:, :6]}, 3, 20)
    assert (new["input_ids"].shape, new["decoder_input_ids"].shape) == ((3, 20), (3, 10))


def test_resized_is_reproducible_and_follows_its_seed():
    kwargs = {"input_ids": IDS, "attention_mask": MASK}
    one, same, other = (resized(kwargs, 7, 19, seed=seed)["input_ids"] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_resized_respects_static_dimensions():
    kwargs = {"input_ids": IDS}
    assert resized(kwargs, 7, 19, relaxed(dynamic_shapes(kwargs), None))["input_ids"].shape == (7, 13)
    assert resized(kwargs, 7, 19, relaxed(dynamic_shapes(kwargs), Dim.AUTO))["input_ids"].shape == (7, 19)


def test_the_second_shape_differs_and_keeps_to_the_bounds():
    kwargs = {"input_ids": IDS, "attention_mask": MASK}
    assert second_shape(kwargs)["input_ids"].shape == (7, 19)
    assert second_shape(kwargs, dynamic_shapes(kwargs, max_length=16))["input_ids"].shape == (7, 9)
    assert second_shape(kwargs, relaxed(dynamic_shapes(kwargs), None))["input_ids"].shape == (7, 13)
    pair = {**kwargs, "decoder_input_ids": kwargs["input_ids"][:, :7].contiguous()}
    assert second_shape(pair, relaxed(dynamic_shapes(pair), Dim.AUTO))["decoder_input_ids"].shape == (7, 10)
    assert second_shape({"pixel_values": torch.rand(5, 3, 8, 8)})["pixel_values"].shape == (7, 3, 8, 8)
