"""The class's own graph decides whether a config is right: shapes and outputs may not show it."""

from __future__ import annotations

import json

import pytest
import torch
import transformers

import fxprune
from fxprune.calls import bound_arguments
from fxprune.deploy.class_graph import differences, fit
from fxprune.errors import DeployError
from fxprune.traced import Traced

T5 = {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4}
LLAMA = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "head_dim": 8}
LLAMA |= {"num_key_value_heads": 4, "intermediate_size": 48, "max_position_embeddings": 64}


def slim_of(tiny, **target) -> Traced:
    return fxprune.prune(tiny.build(), tiny.inputs(), **target)


def half_of(name: str, plan: fxprune.Plan) -> fxprune.Plan:
    """Return the plan that cuts this group alone."""
    data = json.loads(plan.to_json())
    for entry in data["groups"].values():
        if entry["name"] != name:
            entry["keep"] = list(range(entry["size"]))
            entry.pop("under", None)
    return fxprune.Plan.from_json(json.dumps(data))


def with_config(model_class, config, **changes):
    return model_class(type(config)(**{**config.to_dict(), **changes})).eval()


def outputs(model, weights, inputs):
    model.load_state_dict(weights, strict=False)
    model.tie_weights()
    with torch.no_grad():
        return model(**inputs).logits


def test_a_changed_attention_scale_is_absorbed(slim_bert, bert):
    model, inputs = slim_bert
    own = with_config(bert.cls, bert.config, hidden_size=16, intermediate_size=36)
    found = fit(model, own, inputs)
    assert len(found.folded) == 2
    assert all("attention" in name for name in found.folded)
    assert not found.unread
    torch.testing.assert_close(outputs(own, found.weights, inputs), model(**inputs).logits, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        plain = (outputs(own, model.state_dict(), inputs) - model(**inputs).logits).abs().max()
    assert plain > 1e-5  # else the test above shows nothing


def test_other_heads_of_the_same_shapes_are_refused(slim_bert, bert):
    model, inputs = slim_bert
    own = with_config(bert.cls, bert.config, hidden_size=16, intermediate_size=36, num_attention_heads=2)
    with pytest.raises(DeployError, match="computes something else at this config") as refusal:
        fit(model, own, inputs)
    assert "the slim graph has 4 where the class has 2" in refusal.value.cause
    assert "attention" in refusal.value.module


@pytest.mark.slow
def test_a_factor_computed_from_the_width_is_absorbed_by_the_norm_before_it():
    config = transformers.T5Config(**T5, decoder_start_token_id=0)
    ids = torch.randint(3, 99, (5, 13))
    inputs = {"input_ids": ids, "decoder_input_ids": ids[:, :11].contiguous()}
    model = transformers.T5ForConditionalGeneration(config).eval()
    slim = fxprune.prune(model, inputs, plan=half_of("hidden", fxprune.prune(model, inputs, ratio=0.5).plan))
    own = with_config(transformers.T5ForConditionalGeneration, config, d_model=16)
    found = fit(slim, own, inputs)
    assert [name.partition("_")[0] for name in found.folded] == ["mul"]
    torch.testing.assert_close(outputs(own, found.weights, inputs), slim(**inputs).logits, rtol=1e-4, atol=1e-5)


def test_a_buffer_the_class_computes_must_have_the_slim_values():
    config = transformers.LlamaConfig(**LLAMA)
    inputs = {"input_ids": torch.randint(3, 99, (5, 13))}
    model = transformers.LlamaForCausalLM(config).eval()
    slim = fxprune.prune(model, inputs, ratio=1.0)
    own = with_config(
        transformers.LlamaForCausalLM, config, rope_parameters={"rope_theta": 500.0, "rope_type": "default"}
    )
    with pytest.raises(DeployError, match=r"the class computes another .*inv_freq from its config"):
        fit(slim, own, inputs)


def test_a_config_the_class_does_not_run_at_is_refused(slim_bert, bert):
    model, inputs = slim_bert
    own = with_config(bert.cls, bert.config, hidden_size=16, intermediate_size=36, max_position_embeddings=4)
    with pytest.raises(DeployError, match="does not run at this config"):
        fit(model, own, inputs)


@pytest.mark.slow
def test_a_single_head_leaves_nothing_to_copy():
    """The dense model brings its heads in order before it joins them; of a class with one head no trace has that."""
    torch.manual_seed(0)
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**T5, decoder_start_token_id=0)).eval()
    ids = torch.randint(3, 90, (3, 7))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "decoder_input_ids": ids[:, :5].contiguous()}
    slim = fxprune.prune(model, inputs, ratio=0.3)
    heads = {len(entry.keep) for entry in slim.plan.groups.values() if entry.name.endswith("heads")}
    assert heads == {1}
    own = with_config(type(model), model.config, d_model=9, num_heads=1, d_ff=14)
    found = fit(slim, own, inputs)
    assert found.folded  # the class scales by the square root of its width
    got, want = outputs(own, found.weights, inputs), slim(**inputs)
    torch.testing.assert_close(got, want.logits if hasattr(want, "logits") else want["logits"], rtol=1e-4, atol=1e-5)


def test_a_default_that_is_written_down_is_no_difference():
    """A grouped convolution that has one group left says so; its class leaves that out."""
    inputs = {"x": torch.randn(2, 8, 13)}
    slim, own = (fxprune.capture(torch.nn.Conv1d(8, 4, 3).eval(), {"input": inputs["x"]}) for _ in range(2))
    (node,) = slim.graph.find_nodes(op="call_function", target=torch.ops.aten.conv1d.default)
    node.args, node.kwargs = tuple(bound_arguments(node).values()), {}
    assert differences(slim, own) == {}
    node.update_arg(3, [1, 1])
    with pytest.raises(DeployError, match="the class calls it with other arguments"):
        differences(slim, own)
