"""The same runs on a GPU: they follow those on the CPU, cut by cut, for every objective and option."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluating import QUICK, write_model, write_task
from labelled import classified, pictures, summarised
from models import _BERT, ALL, _hugging
from text import tokenizer, write_jsonl
from torch import nn

from fxprune.distillation.config import DistillConfig, ScheduleConfig
from fxprune.distillation.report import DistillResult
from fxprune.distillation.run import distill
from fxprune.evaluation import evaluate

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS"),  # once a process, from a thread of autograd
]
FAST = {"max_steps": 12, "batch_size": 4, "length": 16, "held_out_batches": 2, "target_params": "50%", "eval_every": 4}
WRITERS: dict[str, Callable[[Path], str]] = {
    "BertForSequenceClassification": classified,
    "vit": pictures,
    "t5": summarised,
}


def run(name: str, folder: Path, device: str, **options: Any) -> DistillResult:
    torch.manual_seed(0)
    source: nn.Module = (ALL[name].build if name in ALL else _hugging(name, **_BERT))().eval()
    data = WRITERS.get(name, write_jsonl)(folder)
    words = None if name == "vit" else tokenizer(mask=name not in ("llama_gqa", "gpt2"))
    return distill(source, words, data, DistillConfig(device=device, **FAST | options))  # type: ignore[arg-type]


def losses(result: DistillResult) -> list[float]:
    return [step.losses["total"] for step in result.history]


@pytest.mark.parametrize("name", ["bert", "BertModel", "llama_gqa", "t5", "BertForSequenceClassification", "vit"])
def test_a_gpu_follows_the_cpu(name: str, tmp_path: Path) -> None:
    cpu, gpu = (run(name, tmp_path, device) for device in ("cpu", "cuda"))
    assert [step.cut for step in gpu.history] == [step.cut for step in cpu.history]
    assert gpu.student_params == cpu.student_params
    assert losses(gpu) == pytest.approx(losses(cpu), rel=2e-2, abs=2e-3)
    assert losses(gpu)[:4] == pytest.approx(losses(cpu)[:4], rel=1e-3, abs=1e-4)
    assert {parameter.device.type for parameter in gpu.student.parameters()} == {"cpu"}


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "bf16"},
        {"repair": "least-squares", "repair_batches": 4},
        {"auto_batch": True},
        {"micro_batch": 2},
        {"allocation": "global"},
        {"schedule": ScheduleConfig(rewrite_every=0)},
        {"schedule": ScheduleConfig(revive=True), "max_steps": 24},
        {"dropout": True, "verify": True, "snapshots": ("75%",)},
        *({"importance": name} for name in ("platon", "magnitude", "movement", "fisher", "random")),
    ],
    ids=str,
)
def test_every_option_runs_on_a_gpu(options: dict[str, Any], tmp_path: Path) -> None:
    result = run("bert", tmp_path, "cuda", **options)
    cpu = run("bert", tmp_path, "cpu", **options)
    assert result.student_params == cpu.student_params
    assert losses(result)[-1] == pytest.approx(losses(cpu)[-1], rel=0.3)
    if options.get("verify"):
        assert result.student.certificate.holds


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(("task", "pooling"), [("stsb", "mean"), ("stsb", "model"), ("squad", "model")])
def test_tasks_are_learnt_on_a_gpu(task: str, pooling: str, bf16: bool, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    write_task(tmp_path / task, task)
    done = evaluate(model, task, data=tmp_path, pooling=pooling, device="cuda", bf16=bf16, **QUICK)
    assert done.headline[0] > 0.8
