"""Widths a class computes a number from that no weight can make up for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import fxprune
from fxprune.locks import locked_groups
from fxprune.rescaling.unabsorbed import unabsorbed
from fxprune.widths import Constraints


class Scaled(nn.Module):
    """Queries that are scaled by their width, after they were normalised or not."""

    def __init__(self, *, normalised: bool) -> None:
        super().__init__()
        self.query, self.key, self.leave = nn.Linear(8, 24), nn.Linear(8, 24), nn.Linear(8, 3)
        self.normalised = normalised

    def forward(self, x: Tensor) -> Tensor:
        query, key = self.query(x), self.key(x)
        if self.normalised:
            query, key = nn.functional.normalize(query, dim=-1), nn.functional.normalize(key, dim=-1)
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        return self.leave(scores.tanh() @ x)


def held(model: nn.Module) -> dict[str, str]:
    traced = fxprune.capture(model.eval(), {"x": torch.randn(5, 13, 8)})
    return locked_groups(fxprune.analyse(traced), Constraints(numbers=unabsorbed(traced)))


def test_a_width_stays_where_no_weight_makes_up_for_its_number() -> None:
    ((name, why),) = held(Scaled(normalised=True)).items()
    assert name == "inner"
    assert "no weight can absorb another number than the class computes from it at" in why


def test_a_width_goes_where_a_weight_makes_up_for_its_number() -> None:
    assert held(Scaled(normalised=False)) == {}


@pytest.mark.captures
def test_a_gated_delta_net_keeps_the_dims_of_its_keys_and_loads_as_its_class(tmp_path) -> None:
    from transformers import Qwen3NextConfig, Qwen3NextForCausalLM

    from fxprune.deploy.bundle import write_hf

    torch.manual_seed(0)
    config = Qwen3NextConfig(
        vocab_size=99,
        hidden_size=32,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
        num_experts=0,
        intermediate_size=48,
        linear_num_key_heads=2,
        linear_num_value_heads=6,
        linear_key_head_dim=12,
        linear_value_head_dim=20,
        use_cache=False,
    )
    model = Qwen3NextForCausalLM(config).eval()
    slim = fxprune.prune(model, {"input_ids": torch.randint(99, (5, 70))}, ratio=0.5, verify=True)
    export = write_hf(slim, tmp_path / "slim")
    assert export is not None
    small = Qwen3NextForCausalLM.from_pretrained(tmp_path / "slim").config
    assert small.linear_key_head_dim == 12
    assert small.hidden_size == 16
    assert (small.linear_num_value_heads, small.linear_value_head_dim) == (3, 20)  # where dims stay, heads go
    assert slim.provenance.rung == "fixed length"
