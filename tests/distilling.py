"""Distillers of tiny models, to be stepped by hand."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import torch
from models import _BERT as BERT
from models import ALL, Inputs, _hugging
from remembering import captured
from text import sentences, tokenizer
from torch import Tensor
from zoo import ZOO

from fxprune.distillation.config import DistillConfig
from fxprune.distillation.loop import Distiller, generator_for
from fxprune.distillation.objective import Batch, find_objective
from fxprune.distillation.ranks import Ranks
from fxprune.distillation.taps import find_taps
from fxprune.forecast import forecast
from fxprune.groups import byproducts, feature_outputs
from fxprune.student import Student
from fxprune.traced import Traced
from fxprune.widths import Constraints

LENGTH, ROWS = 12, 4


def traced(name: str) -> Traced:
    """A model in float32."""
    torch.manual_seed(0)
    build = _hugging("BertModel", **BERT) if name == "encoder" else (ALL[name] if name in ALL else ZOO[name]).build
    return captured(build().eval(), inputs(name))


def inputs(name: str) -> Inputs:
    return ALL.get(name, ALL["bert"]).inputs(5, 13)


def distiller(name: str, **options: object) -> Distiller:
    config = DistillConfig(**{"target_params": "40%", "max_steps": 10, "length": LENGTH} | options)  # type: ignore[arg-type]
    dense = traced(name)
    objective = find_objective(dense, words(name))
    if "decoder_input_ids" in objective.inputs:
        objective = replace(objective, start=0)
    free = feature_outputs(dense) if objective.logits is None else byproducts(dense)
    student = Student(dense, free_outputs=free)
    final = forecast(dense, student.groups, config.goal, Constraints()).final
    teacher = copy.deepcopy(dense).requires_grad_(False)
    taps = find_taps(dense, student.groups, free)
    torch.manual_seed(config.seed)
    return Distiller(teacher, student, taps, objective, final, config, Ranks.join(torch.device("cpu")))


def words(name: str) -> object:
    return tokenizer(mask=name not in ("gpt2", "llama", "llama_gqa", "bloom"))


def batches(found: Distiller, name: str = "bert", seed: int = 0) -> Iterator[Batch]:
    own, masks, draw = words(name), generator_for(seed), torch.Generator().manual_seed(seed)
    ids = torch.tensor(own(" ".join(sentences(40)), add_special_tokens=False)["input_ids"])  # type: ignore[operator]
    rows = ids[: len(ids) // LENGTH * LENGTH].view(-1, LENGTH)
    while True:
        chosen = rows[torch.randint(len(rows), (ROWS,), generator=draw)]
        batch = {"input_ids": chosen, "attention_mask": torch.ones_like(chosen)}
        yield found.objective.prepare(batch, own, masks, 0.3)


def trained(name: str, steps: int = 10, **options: object) -> tuple[Distiller, list[dict[str, float]], list[int]]:
    found = distiller(name, max_steps=steps, **options)
    stream, history, cuts = batches(found, name), [], []
    for step in range(1, steps + 1):
        losses, cut, _ = found.step(next(stream))
        history.append(losses)
        cuts += [step] if cut else []
    return found, history, cuts


def parameters(found: Distiller) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in found.student.traced.named_parameters()}


def terms(found: Distiller, batch: Batch) -> dict[str, float]:
    with torch.no_grad():
        teacher, student = found.terms.run(found.teacher, batch), found.terms.run(found.student.traced, batch)
        return {name: float(value) for name, value in found.terms(student, teacher, batch).items()}
