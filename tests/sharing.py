"""What the processes of a test do, each in an interpreter of its own."""

from __future__ import annotations

import os
import time
from typing import Any

import torch
from distilling import batches, distiller, trained
from text import sentences, tokenizer

from fxprune.distillation.config import ScheduleConfig
from fxprune.distillation.mending import Mender
from fxprune.distillation.packing import packed_batches
from fxprune.distillation.ranks import Ranks
from fxprune.distillation.sentences import sentence_batches

FIVE_CUTS = ScheduleConfig(start=0.1, end=0.9, interval=5)


def alone() -> Ranks:
    """This process, among those that were launched with it, if any."""
    return Ranks.join(torch.device("cpu"))


def run(name: str, steps: int, micro: int | None = None) -> tuple[list[dict[str, float]], list[int], str]:
    found, history, cuts = trained(name, steps, schedule=FIVE_CUTS, micro_batch=micro)
    stream = batches(found, name, seed=7)
    measured = found.evaluate([next(stream) for _ in range(3)])
    return [*history, measured["student"]], cuts, found.student.plan.digest


def masks() -> tuple[list[dict[str, float]], list[int], str]:
    """Units that are zeroed, trained and ranked anew."""
    found, history, cuts = trained("bert", 16, schedule=ScheduleConfig(start=0.1, end=0.7, interval=2, revive=True))
    return history, cuts, found.cutter.digest


def repaired() -> tuple[list[dict[str, float]], list[int], str]:
    """Weights that are fitted anew after cuts, by each process from the same text."""
    found = distiller("bert", schedule=FIVE_CUTS, max_steps=20, repair="least-squares", repair_interval=1)
    stream = batches(found, "bert")
    found.mender = Mender(found.student, found.config, [next(stream) for _ in range(4)])
    history = [found.step(next(stream))[0] for _ in range(20)]
    cuts = [step for step, _ in found.mender.history]
    return history, cuts, found.student.plan.digest


def blocks(dataset: Any, ranks: Ranks | None = None) -> list[list[Any]]:
    found = []
    for make in (packed_batches, sentence_batches):
        stream = make(dataset, tokenizer(), length=16, batch_size=4, ranks=ranks)
        found.append([next(stream)["input_ids"].tolist() for _ in range(30)])
    return found


def texts() -> Any:
    from datasets import Dataset

    return Dataset.from_dict({"text": sentences(700)})


def runs() -> dict[str, Any]:
    """Masked LM and features."""
    return {"bert": run("bert", 50), "encoder": run("encoder", 50)}


def more_runs() -> dict[str, Any]:
    """Features part by part in several processes, which one runs at once; masks; and repairs."""
    parts = 1 if alone().count > 1 else None
    return {"parts": run("encoder", 20, parts), "masks": masks(), "repaired": repaired()}


def shares() -> list[list[Any]]:
    """The batches of packed and of single sentences."""
    return blocks(texts(), alone())


def disagreement() -> str:
    """The second process is made to keep other units than the first."""
    found = distiller("bert", schedule=FIVE_CUTS)
    if found.ranks.index == 1:
        best = found.student.best
        found.student.best = lambda *a: {k: m.flip(-1) for k, m in best(*a).items()}  # type: ignore[method-assign]
    stream = batches(found, "bert")
    for _ in range(10):
        found.step(next(stream))
    return "nothing was noticed"


def silence() -> str:
    """The second process does not answer for longer than the first one waits."""
    ranks = Ranks.join(torch.device("cpu"), 1.0)
    if ranks.index == 1:
        time.sleep(3.0)
        return ""
    ranks.any(False)
    return "nothing was noticed"


def death() -> str:
    """The second process ends in the middle of the run."""
    found = distiller("bert")
    stream = batches(found, "bert")
    for step in range(1, 9):
        if found.ranks.index == 1 and step == 3:
            os._exit(9)
        found.step(next(stream))
    return "nothing was noticed"
