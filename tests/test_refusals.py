"""What capture mends by itself, and what it refuses in one sentence with module and source line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from models import inputs_of, model_of, text, traced_of
from torch import Tensor, nn

import fxprune
from fxprune.errors import CaptureError

pytestmark = pytest.mark.captures


@dataclass
class Inner:
    """A part of an output."""

    hidden: Tensor


@dataclass
class Outer:
    """An output with a part that is one too."""

    logits: Tensor
    inner: Inner
    extra: list[Tensor] = field(default_factory=list)


class Plain(nn.Module):
    """Two layers; what they return is up to the one that derives from it."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Any:
        hidden = self.enter(x).relu()
        return Outer(self.leave(hidden), Inner(hidden), [hidden * 2])


class Opaque:
    """Holds a tensor where nobody looks."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


@pytest.mark.parametrize("size", [(5, 5), (4, 8), (32, 32), (48, 4), (1, 1), (5, 1), (1, 13)])
def test_sizes_that_collide_with_each_other_or_the_model_change_nothing(size: tuple[int, int]) -> None:
    """32 is the width, 48 the feed-forward width, 4 the number of heads, 1 what torch takes for fixed."""
    model = model_of("bert")
    traced = fxprune.capture(model, text(*size))
    assert traced.provenance.rung == "named"
    assert fxprune.analyse(traced).to_text() == fxprune.analyse(traced_of("bert")).to_text()
    for other in ((3, 9), (1, 1), (6, 6)):
        torch.testing.assert_close(traced(**text(*other)).logits, model(**text(*other)).logits)


def test_examples_that_are_views_are_copied() -> None:
    wide = {name: tensor.repeat(2, 2)[::2, ::2] for name, tensor in text(10, 26).items()}
    assert not any(tensor.is_contiguous() for tensor in wide.values())
    traced = fxprune.capture(model_of("bert"), wide)
    assert traced(**text(2, 5)).logits.shape[:2] == (2, 5)


def test_dataclasses_come_back_as_what_they_are() -> None:
    model, x = Plain().eval(), torch.randn(5, 6)
    traced = fxprune.capture(model, {"x": x})
    got, expected = traced(x=x), model(x)
    assert type(got) is Outer
    assert type(got.inner) is Inner
    torch.testing.assert_close(got.logits, expected.logits)
    torch.testing.assert_close(got.extra, expected.extra)
    slim = fxprune.prune(model, {"x": x}, ratio=0.5, free_outputs={1, 2}, verify=True)
    assert slim(x=x).inner.hidden.shape == (5, 4)


def test_a_cache_is_refused_by_its_place() -> None:
    inputs = {**inputs_of("llama"), "use_cache": True}
    with pytest.raises(
        CaptureError, match="returns a DynamicCache as 'past_key_values', which no graph can hold"
    ) as no:
        fxprune.capture(model_of("llama"), inputs)
    assert "use_cache=False" in str(no.value.remedy)


def test_an_unknown_class_is_refused_by_its_name() -> None:
    class Hides(Plain):
        def forward(self, x: Tensor) -> Opaque:
            return Opaque(self.enter(x))

    with pytest.raises(CaptureError, match="Hides returns a Opaque, which no graph can hold"):
        fxprune.capture(Hides(), {"x": torch.randn(5, 6)})


def test_arguments_that_forward_needs_but_does_not_name_as_such() -> None:
    with pytest.raises(CaptureError, match="does not run on the example inputs") as refusal:
        fxprune.capture(model_of("t5"), text(5, 13))
    error = refusal.value
    assert error.module == "decoder"
    assert str(error.node).startswith("modeling_t5.py:")
    assert "input_ids or inputs_embeds" in str(error.cause)
    assert "forward may need more of them" in str(error.remedy)


def test_an_attention_that_asks_its_mask_is_refused_with_module_and_line() -> None:
    """Longformer: ``if is_global_attn``, which is computed from the mask."""
    from transformers import LongformerConfig, LongformerForMaskedLM

    config = LongformerConfig(
        vocab_size=99,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=48,
        attention_window=4,
        max_position_embeddings=64,
    )
    with pytest.raises(CaptureError, match="LongformerForMaskedLM cannot be captured as one graph") as refusal:
        fxprune.capture(LongformerForMaskedLM(config).eval(), text(5, 16))
    error = refusal.value
    assert error.module == "longformer.encoder.layer.0.attention.self"
    assert "if is_global_attn" in str(error.node)
    assert "values of tensors may not decide what is computed" in str(error.remedy)
    assert len(str(error).splitlines()) == 5


def test_a_refusal_of_another_kind_blames_no_values() -> None:
    class Counts(Plain):
        def forward(self, x: Tensor) -> Tensor:
            return self.enter(x) * torch.from_numpy(x.detach().numpy()).sum()

    with pytest.raises(CaptureError, match="cannot be captured") as refusal:
        fxprune.capture(Counts(), {"x": torch.randn(5, 6)})
    assert refusal.value.remedy == "rewrite that line, or choose options that avoid it"
    assert "test_refusals.py" in str(refusal.value.node)


@pytest.mark.parametrize("name", ["hiden", "bert.encoder.layer.0.iner"])
def test_a_group_that_is_not_there_is_answered_with_the_nearest(name: str) -> None:
    groups = fxprune.analyse(traced_of("bert"))
    with pytest.raises(fxprune.FxpruneError, match=f"unknown group '{name}'; did you mean '(hidden|bert.*inner)'"):
        groups[name]
