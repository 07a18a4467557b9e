"""Taps are found on graphs nobody described: one hidden state and one attention a block, and what enters the first."""

from __future__ import annotations

import copy

import pytest
import torch
from models import _BERT, ARCHITECTURES, LAYERS, inputs_of, model_of, text, traced_of
from remembering import captured
from torch import nn
from zoo import ZOO
from zoo.entry import model_of as build

from fxprune.distillation.losses import centred_scores, looked_at, seen_by, seen_in
from fxprune.distillation.taps import Taps, find_taps
from fxprune.groups import analyse, feature_outputs
from fxprune.passes import ExposeTaps, run_passes
from fxprune.traced import Traced

TEXT = ["bert", "roberta", "distilbert", "electra", "modernbert", "gpt2", "llama", "llama_gqa"]


def taps_of(traced: Traced) -> Taps:
    features = feature_outputs(traced)
    return find_taps(traced, analyse(traced, free_outputs=features), features)


def tapped(traced: Traced, taps: Taps, inputs: dict) -> dict[str, torch.Tensor]:
    run_passes(traced, [ExposeTaps(taps.nodes)])
    with torch.no_grad():
        return dict(zip(taps.nodes, traced(**inputs)[1], strict=True))


@pytest.mark.parametrize("name", TEXT)
def test_every_block_has_a_hidden_state_and_an_attention(name: str) -> None:
    taps = taps_of(traced_of(name))
    assert len(taps.hidden) == len(taps.attention) == LAYERS
    assert len(taps.embedding) == 1
    blocks = [tap.block for tap in taps.hidden]
    assert len(set(blocks)) == LAYERS
    assert [tap.block for tap in taps.attention] == blocks
    assert taps.embedding[0].block == blocks[0]


@pytest.mark.parametrize("name", TEXT)
def test_the_taps_hold_what_the_model_itself_calls_its_hidden_states(name: str) -> None:
    traced, inputs = traced_of(name), inputs_of(name)
    taps = taps_of(traced)
    values = tapped(traced, taps, inputs)
    with torch.no_grad():
        states = model_of(name)(**inputs, output_hidden_states=True).hidden_states
    first, *blocks = states
    torch.testing.assert_close(values[taps.embedding[0].node], first)
    for tap, state in zip(taps.hidden[:-1], blocks, strict=False):  # after the last block some norm the state first
        torch.testing.assert_close(values[tap.node], state)
    assert values[taps.hidden[-1].node].shape == states[-1].shape


@pytest.mark.parametrize("name", ["bert", "llama_gqa", "t5"])
def test_the_tapped_queries_and_keys_make_the_attention_of_the_model(name: str) -> None:
    traced, inputs = traced_of(name), inputs_of(name)
    taps = taps_of(traced)
    values = tapped(traced, taps, inputs)
    wanted = eager(name)(**inputs, output_attentions=True)
    weights = [*wanted.attentions] if hasattr(wanted, "attentions") else [*wanted.encoder_attentions]
    for tap, expected in zip(taps.attention, weights, strict=False):
        query, key = (values[name] for name in tap.sources)
        key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
        scores = query @ key.transpose(-1, -2) * tap.scale
        if tap.mask is not None:
            mask = values[tap.mask]
            scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
        if tap.causal:
            order = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
            scores = scores.masked_fill(~order, float("-inf"))
        seen = expected > 0
        torch.testing.assert_close(scores.softmax(-1)[seen], expected[seen], rtol=1e-4, atol=1e-6)


def eager(name: str) -> nn.Module:
    """The same model with attention written out, which shows its weights."""
    model = copy.deepcopy(model_of(name))
    model.set_attn_implementation("eager")  # type: ignore[operator]
    return model


@pytest.mark.parametrize("name", ["bert", "llama_gqa", "gpt2"])
def test_attention_that_is_written_out_is_compared_as_the_fused_op_is(name: str) -> None:
    """Scores and what is seen of them are those of the fused op, and so is the loss of other scores."""
    inputs = inputs_of(name)
    fused, written = traced_of(name), captured(eager(name), inputs)
    taps = [taps_of(fused), taps_of(written)]
    assert all(tap.written_out for tap in taps[1].attention)
    values = [tapped(fused, taps[0], inputs), tapped(written, taps[1], inputs)]
    real = inputs["attention_mask"] > 0 if "attention_mask" in inputs else None
    for before, after in zip(taps[0].attention, taps[1].attention, strict=True):
        query, key = (values[0][name] for name in before.sources)
        pairs = query @ key.repeat_interleave(query.shape[1] // key.shape[1], 1).transpose(-1, -2) * before.scale
        query, turned = (values[1][name] for name in after.sources)
        written = query @ turned
        mask, held = None if before.mask is None else values[0][before.mask], values[1][str(after.mask)]
        seen = [looked_at(seen_by(mask, before.causal, pairs), real), looked_at(seen_in(held), real)]
        assert_same_seen(*seen, pairs)
        assert_proportional(centred_scores(written, seen[1]), centred_scores(pairs, seen[0]))
        assert_proportional(centred_scores(held, seen[1]), centred_scores(pairs, seen[0]))


def assert_proportional(one: torch.Tensor, other: torch.Tensor) -> None:
    """Losses are relative."""
    torch.testing.assert_close(one / one.norm(), other / other.norm(), rtol=1e-4, atol=1e-6)


def assert_same_seen(one: torch.Tensor | None, other: torch.Tensor | None, like: torch.Tensor) -> None:
    every = torch.ones(like.shape, dtype=torch.bool)
    assert torch.equal(every if one is None else every & one, every if other is None else every & other)


@pytest.mark.parametrize(
    ("name", "sources"), [("bloom", 2), ("deberta", 1), ("deberta-v2", 1), ("xlnet", 1), ("big_bird", 2)]
)
def test_attention_of_any_form_is_tapped(name: str, sources: int) -> None:
    """With one product it is queries and keys, folded or not; with several it is their sum."""
    entry = ZOO[name]
    inputs = entry.inputs(3, 11)
    traced = captured(build(entry), inputs)
    taps = taps_of(traced)
    assert [len(tap.sources) for tap in taps.attention] == [sources] * LAYERS
    values = tapped(traced, taps, inputs)
    for tap in taps.attention:
        scores = values[str(tap.mask)]
        assert scores.shape == (3, 4, 11, 11)
        assert (tap.mask in tap.sources) == (sources == 1)
        seen = seen_in(scores)
        assert seen is not None
        sees = seen.any(-1)
        assert sees.any()
        assert torch.equal(seen[sees], scores.softmax(-1)[sees] > 0)


def test_an_encoder_without_a_head_is_tapped_at_its_outputs_too() -> None:
    from transformers import BertConfig, BertModel

    traced = captured(BertModel(BertConfig(**_BERT)).eval(), text(5, 13))
    taps = taps_of(traced)
    assert [tap.block for tap in taps.hidden] == ["encoder.layer.0", "encoder.layer.1", "output"]
    assert [tap.output for tap in taps.hidden] == [False, True, True]  # the last state and the pooler
    assert len(taps.attention) == LAYERS


def test_a_final_norm_is_an_output_of_its_own() -> None:
    from transformers import LlamaConfig, LlamaModel

    model = LlamaModel(LlamaConfig(**_BERT | {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 8}))
    taps = taps_of(captured(model, text(5, 13)))
    assert [tap.block for tap in taps.hidden] == ["layers.0", "layers.1", "output"]
    assert [tap.output for tap in taps.hidden] == [False, False, True]


def test_a_translator_has_blocks_on_both_sides() -> None:
    taps = taps_of(traced_of("t5"))
    assert [tap.block for tap in taps.embedding] == ["encoder.block.0", "decoder.block.0"]
    blocks = [f"{side}.block.{i}" for side in ("encoder", "decoder") for i in range(LAYERS)]
    assert [tap.block for tap in taps.hidden][: 2 * LAYERS] == blocks
    assert len(taps.attention) == 3 * LAYERS  # the decoder attends to itself and to the encoder


def test_each_tap_knows_whose_positions_it_has() -> None:
    """Padding of the source is not padding of the target; what the decoder looks back at is no embedding of it."""
    taps = taps_of(traced_of("t5"))
    assert [tap.positions for tap in taps.embedding] == ["input_ids", "decoder_input_ids"]
    sides = {tap.block.partition(".")[0]: tap.positions for tap in taps.hidden[: 2 * LAYERS]}
    assert sides == {"encoder": "input_ids", "decoder": "decoder_input_ids"}
    queries = [tap.positions for tap in taps.attention]
    assert queries == ["input_ids"] * LAYERS + ["decoder_input_ids"] * 2 * LAYERS
    traced = traced_of("t5")
    values = tapped(traced, taps, inputs_of("t5") | {"decoder_input_ids": inputs_of("t5")["decoder_input_ids"][:, :3]})
    assert values[taps.embedding[1].node].shape[1] == 3
    assert {values[tap.sources[0]].shape[-2] for tap in taps.attention[LAYERS:]} == {3}
    assert {tap.positions for tap in taps_of(traced_of("vit")).hidden} == {None}


def test_an_image_model_is_tapped_like_any_other() -> None:
    taps = taps_of(traced_of("vit"))
    assert (len(taps.embedding), len(taps.hidden), len(taps.attention)) == (1, LAYERS, LAYERS)


def test_what_is_no_transformer_has_no_taps() -> None:
    taps = taps_of(traced_of("fused_glu"))
    assert taps.nodes == ()


def test_each_node_is_exposed_once() -> None:
    for name in ARCHITECTURES:
        taps = taps_of(traced_of(name))
        assert len(set(taps.nodes)) == len(taps.nodes)
        names = {node.name for node in traced_of(name).graph.nodes}
        assert names.issuperset(taps.nodes)
