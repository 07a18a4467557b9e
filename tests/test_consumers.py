"""Consumers: what contracts a cut factor with a weight, and how its names lay out the regression."""

from __future__ import annotations

import pytest
import torch
from repairing import dense_of
from zoo.cutting import halves

from fxprune.consumers import Consumer, Skipped, find_consumers, laid, unlaid
from fxprune.student import Student


def found_in(name: str, only: str = "") -> tuple[dict[str, Consumer], list[Skipped]]:
    """Consumers by weight, of a model of which all groups are halved, or those whose names hold `only`."""
    student = Student(dense_of(name))
    masks = {group: mask for group, mask in halves(student.groups, ragged=False).items() if only in group}
    consumers, skipped = find_consumers(student.traced.graph, student.groups.inferred, student.ledger.kept(masks))
    return {consumer.weight: consumer for consumer in consumers}, skipped


def test_a_layer_reads_what_is_cut_and_gives_what_stays() -> None:
    found, _ = found_in("bert", "layer.0.inner")
    (consumer,) = found.values()
    assert consumer.weight == "bert.encoder.layer.0.output.dense.weight"
    assert (consumer.summed, consumer.output, consumer.shared) == (("i",), ("o",), ())
    assert len(consumer.free) == 2
    assert consumer.keep == (None, None, None)
    assert consumer.bias is not None
    assert consumer.bias[0].target == "bert.encoder.layer.0.output.dense.bias"


def test_all_readers_of_the_residual_stream_are_consumers_in_the_order_of_the_graph() -> None:
    found, skipped = found_in("bert")
    layers = [name.partition("layer.")[2] for name in found if "layer." in name]
    once = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
    once += ["intermediate.dense", "output.dense"]
    assert layers == [f"{layer}.{name}.weight" for layer in (0, 1) for name in once]
    assert [item.reason for item in skipped] == ["2 places read this weight"]


def test_experts_in_one_weight_have_a_regression_each() -> None:
    found, _ = found_in("stacked_experts", "inner")
    (consumer,) = (item for name, item in found.items() if name == "down")
    assert [len(part) for part in (consumer.shared, consumer.summed, consumer.output)] == [1, 1, 1]
    assert consumer.bias is None


def test_heads_and_dims_of_one_weight_are_summed_together() -> None:
    found, _ = found_in("einsum_attention", "heads")
    assert len(found["o"].summed) == 2
    assert found["o"].output == (found["o"].layout[1][2],)


def test_inner_products_of_activations_are_no_consumers() -> None:
    found, skipped = found_in("bert", ".qk")
    assert found == {}
    assert skipped == []


@pytest.mark.parametrize(
    ("shape", "names", "parts"),
    [
        ((2, 3, 4), ("b", "s", "d"), ((), ("b", "s"), ("d",))),
        ((2, 1, 3, 4), ("e", None, "k", "j"), (("e",), ("j",), ("k",))),
        ((2, 3, 4), ("h", "e", "d"), ((), ("d",), ("h", "e"))),
    ],
)
def test_what_is_laid_out_is_put_back(shape: tuple[int, ...], names: tuple[str, ...], parts: list[tuple]) -> None:
    value = torch.randn(shape)
    matrix = laid(value, names, *parts)
    assert matrix.ndim == 3
    assert torch.equal(unlaid(matrix, shape, names, *parts), value)
