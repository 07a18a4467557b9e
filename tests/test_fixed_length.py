"""Models whose length cannot stay free: loops over positions, or over chunks of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from text import tokenizer, write_jsonl
from torch import Tensor, nn

import fxprune
from fxprune.deploy.grids import within
from fxprune.distillation.config import DistillConfig
from fxprune.distillation.run import distill
from fxprune.eager import computed_as_called
from fxprune.errors import UsageError
from fxprune.origin import only_length
from fxprune.shapes import length_of
from fxprune.tracing import capture


class Chunked(nn.Module):
    """Carries a state from chunk to chunk, as linear attention does: one graph holds for one number of chunks."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.carry = nn.Embedding(31, 8), nn.Linear(8, 8)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = nn.functional.pad(self.tokens(input_ids), (0, 0, 0, -input_ids.shape[1] % 16))
        state, found = torch.zeros(x.shape[0], 1, 8), []
        for chunk in x.split(16, dim=1):
            found.append(chunk + state)
            state = torch.tanh(self.carry(chunk.sum(1, keepdim=True) + state))
        return torch.cat(found, 1)[:, : input_ids.shape[1]]


def ids(batch: int, length: int) -> dict[str, Tensor]:
    return {"input_ids": torch.randint(31, (batch, length))}


def mamba(**fields: Any) -> nn.Module:
    from transformers import MambaConfig, MambaForCausalLM

    sizes = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 1, "state_size": 4, "time_step_rank": 4}
    torch.manual_seed(0)
    return MambaForCausalLM(MambaConfig(**sizes | fields)).eval()


@pytest.mark.captures
@pytest.mark.parametrize("make", [Chunked, mamba])
def test_the_length_is_that_of_the_examples_or_the_one_asked_for(make: Any) -> None:
    model = make()
    for length, fixed in ((None, 13), (40, 40)):
        traced = fxprune.capture(model, ids(5, 13), length=length)
        assert traced.provenance.rung == "fixed length"
        assert only_length(traced) == fixed
        assert length_of(traced.meta["origin"].example_kwargs) == fixed
        inputs = ids(3, fixed)
        torch.testing.assert_close(_first(traced(**inputs)), _first(model(**inputs)))


def _first(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


@pytest.mark.captures
def test_a_length_that_can_stay_free_stays_free() -> None:
    traced = capture(nn.Sequential(nn.Embedding(31, 8), nn.Linear(8, 8)), {"input": ids(5, 13)["input_ids"]}, 40)
    assert traced(input=torch.ones(2, 21, dtype=torch.int64)).shape == (2, 21, 8)


def test_a_fixed_length_is_timed_at_that_length() -> None:
    traced = fxprune.capture(Chunked(), ids(5, 13))
    assert within([(1, 32), (1, 128), (8, 128)], traced) == [(1, 13), (8, 13)]


def test_a_model_of_a_fixed_length_is_distilled_at_the_length_of_the_run(tmp_path: Path) -> None:
    config = DistillConfig(max_steps=6, batch_size=4, length=24, target_params="70%", device="cpu", held_out_batches=1)
    result = distill(mamba(), tokenizer(mask=False), write_jsonl(tmp_path), config)
    assert result.student_params <= 0.7 * result.teacher_params
    assert only_length(result.student) == 24
    assert any("fixed length" in note for note in result.notes)


def test_a_slim_model_of_a_fixed_length_is_the_class_at_any_length(tmp_path: Path) -> None:
    from fxprune.deploy.bundle import write_hf

    slim = fxprune.prune(mamba(), ids(5, 13), ratio=0.5, verify=True)
    export = write_hf(slim, tmp_path / "slim")
    assert export is not None
    assert type(mamba()).from_pretrained(tmp_path / "slim")(**ids(2, 30)).logits.shape == (2, 30, 99)


def test_code_that_computes_otherwise_for_an_export_is_captured_as_it_runs() -> None:
    from transformers.models.qwen3_next import modeling_qwen3_next as file

    block = type("Block", (nn.Module,), {"__module__": file.__name__})()
    asked = file.is_torchdynamo_exporting
    with computed_as_called(block):
        assert file.is_torchdynamo_exporting is not asked
        assert not file.is_torchdynamo_exporting()
    assert file.is_torchdynamo_exporting is asked
    with computed_as_called(nn.Linear(2, 2)):
        assert file.is_torchdynamo_exporting is asked


def test_a_model_of_a_fixed_length_is_given_no_sentences(tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaModel

    model = MambaModel(MambaConfig(vocab_size=99, hidden_size=32, num_hidden_layers=1, state_size=4)).eval()
    options: dict[str, Any] = {"max_steps": 2, "batch_size": 4, "length": 16, "target_params": "80%", "device": "cpu"}
    given = model, tokenizer(mask=False), write_jsonl(tmp_path)
    result = distill(*given, DistillConfig(**options, held_out_batches=1))
    assert not any("sentences" in note for note in result.notes)
    with pytest.raises(UsageError, match="sentences differ in length"):
        distill(*given, DistillConfig(**options, packing="sentences"))
