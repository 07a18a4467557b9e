"""Examples at another batch and length."""

from __future__ import annotations

import torch

from fxprune.redrawing import markers
from fxprune.shapes import dynamic_shapes, relaxed, resized

IMAGE = 90
IDS = torch.tensor(
    [[1, IMAGE, IMAGE, 11, 12, 13, 2], [1, 21, IMAGE, IMAGE, 22, 23, 2], [1, 31, 32, 33, IMAGE, IMAGE, 2]]
)


def _order(row: torch.Tensor) -> list[int]:
    return [value for value in row.tolist() if value in (1, 2, IMAGE)]


def test_ids_that_every_row_has_keep_their_number_and_order() -> None:
    for batch, length in ((5, 7), (4, 12), (3, 4), (2, 5)):
        new = resized({"input_ids": IDS}, batch, length)["input_ids"]
        assert new.shape == (batch, length)
        assert all(_order(row) == [1, IMAGE, IMAGE, 2] for row in new)
    others = resized({"input_ids": IDS}, 50, 20)["input_ids"].unique().tolist()
    assert set(others) == set(IDS.unique().tolist())  # the rest is drawn from all that stands between


def test_no_room_for_them_is_no_error() -> None:
    assert resized({"input_ids": IDS}, 2, 3)["input_ids"].shape == (2, 3)


def test_a_fixed_batch_keeps_them_too() -> None:
    spec = {"input_ids": {1: dynamic_shapes({"input_ids": IDS})["input_ids"][1]}}  # type: ignore[index, call-overload]
    new = resized({"input_ids": IDS}, 9, 12, spec)["input_ids"]
    assert new.shape == (3, 12)
    assert all(_order(row) == [1, IMAGE, IMAGE, 2] for row in new)


def test_what_stands_beside_the_ids_goes_with_them() -> None:
    kwargs = {"input_ids": IDS, "token_type_ids": (IDS == IMAGE).long(), "bbox": IDS[..., None].repeat(1, 1, 4)}
    new = resized(kwargs, 6, 15)
    assert torch.equal(new["token_type_ids"], (new["input_ids"] == IMAGE).long())
    assert torch.equal(new["bbox"], new["input_ids"][..., None].repeat(1, 1, 4))


def test_of_one_row_what_stands_more_than_once_is_a_marker() -> None:
    assert markers(torch.tensor([[7, 8, 7, 9]])).tolist() == [7]
    assert markers(IDS).tolist() == [1, 2, IMAGE]
    assert markers(torch.tensor([[1, 2], [3, 4]])).tolist() == []


def test_rows_of_one_value_are_drawn_as_ever() -> None:
    ones = torch.ones(3, 7, dtype=torch.int64)
    assert resized({"input_ids": ones}, 2, 9)["input_ids"].tolist() == [[1] * 9] * 2
    fixed = relaxed(dynamic_shapes({"input_ids": ones}), None)
    assert resized({"input_ids": ones}, 2, 9, fixed)["input_ids"].shape == (2, 7)
